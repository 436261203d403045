"""From costs to candidates, in one place for all strategies.

Ties are broken at random, or equal replicas would all pick the same "first" pod. A pod of unknown cost (NaN) is put at
the median of the known ones: it neither attracts traffic by looking idle nor starves because it has not been measured.
When nothing is known of any pod, least-request decides, and the branch says so.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from routing.strategies.least_request import LeastRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routing.candidates import Candidates
    from routing.strategies.policy import Policy, RoutingRequest

_FALLBACK = LeastRequest()
_UNKNOWN = "fallback_least_request"


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Positions of candidates in order of preference, all costs, and the branch (a metric label: few, fixed values)."""

    positions: Sequence[int]
    costs: Sequence[float]
    branch: str


class Chooser:
    """Orders candidates by cost."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from 0 to 1, for ties."""
        self._draw = draw

    def choose(self, policy: Policy, pods: Candidates, request: RoutingRequest, count: int) -> Choice:
        """At most `count` distinct pods, best first. `pods` must not be empty."""
        return self.rank(policy, pods, request, policy.costs(pods, request), count)

    def rank(self, policy: Policy, pods: Candidates, request: RoutingRequest, costs: list[float], count: int) -> Choice:
        """As `choose`, of costs that have been asked for."""
        if math.isnan(sum(costs)):
            known = [cost for cost in costs if cost == cost]
            if not known:
                costs = _FALLBACK.costs(pods, request)
                return Choice(self._best(costs, count), costs, _UNKNOWN)
            middle = median(known)
            costs = [cost if cost == cost else middle for cost in costs]
        best = self._best(costs, count)
        return Choice(best, costs, policy.branch(pods, best[0], request))

    def _best(self, costs: list[float], count: int) -> list[int]:
        positions = range(len(costs))
        if len(set(costs)) == len(costs):
            return sorted(positions, key=costs.__getitem__)[:count]
        draw = self._draw
        lots = sorted([(costs[position], draw(), position) for position in positions])
        return [position for _, _, position in lots[:count]]
