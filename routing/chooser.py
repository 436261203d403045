"""From costs to candidates, in one place for all strategies.

Ties are broken at random, or equal replicas would all pick the same "first" pod. A pod of unknown cost (NaN) is put at
the median of the known ones: it neither attracts traffic by looking idle nor starves because it has not been measured.
When nothing is known of any pod, least-request decides, and the branch says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.policies.least_request import LeastRequest

if TYPE_CHECKING:
    from routing.columns import FloatColumn, IntColumn
    from routing.policy import Policy, RoutingRequest
    from routing.view import PodView

_FALLBACK = LeastRequest()


class Choice(msgspec.Struct, frozen=True):
    """Positions in the view in order of preference, all costs, and the branch (a metric label: few, fixed values)."""

    positions: IntColumn
    costs: FloatColumn
    branch: str


class Chooser:
    """Orders candidates by cost."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def choose(self, policy: Policy, pods: PodView, request: RoutingRequest, count: int) -> Choice:
        """At most `count` distinct pods, best first. `pods` must not be empty."""
        costs = policy.costs(pods, request)
        if math.isnan(np.add.reduce(costs)):
            unknown = np.isnan(costs)
            if unknown.all():
                costs = _FALLBACK.costs(pods, request)
                return Choice(self._best(costs, count), costs, "fallback_least_request")
            if unknown.any():
                costs = np.where(unknown, np.nanmedian(costs), costs)
        best = self._best(costs, count)
        return Choice(best, costs, policy.branch(pods, request, int(best[0])))

    def _best(self, costs: FloatColumn, count: int) -> IntColumn:
        shuffled = self._rng.permutation(len(costs))
        best: IntColumn = shuffled[np.argsort(costs[shuffled], kind="stable")[:count]]
        return best
