"""From costs to candidates, in one place for all strategies.

Ties are broken at random, or equal replicas would all pick the same "first" pod. A pod of unknown cost (NaN) is put at
the median of the known ones: it neither attracts traffic by looking idle nor starves because it has not been measured.
When nothing is known of any pod, least-request decides, and the branch says so.
"""

from __future__ import annotations

import math
import random
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.few_pods import FEW_PODS, FewPods
from routing.policies.least_request import LeastRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routing.columns import FloatColumn
    from routing.policy import Policy, RoutingRequest
    from routing.view import PodView

_FALLBACK = LeastRequest()
_UNKNOWN = "fallback_least_request"


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Positions in the view in order of preference, all costs, and the branch (a metric label: few, fixed values)."""

    positions: Sequence[int]
    costs: Sequence[float] | FloatColumn
    branch: str


class Chooser:
    """Orders candidates by cost."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        # For a few numbers, Python's own generator takes a tenth of numpy's time.
        self._draw = random.Random(int(rng.integers(2**63))).random

    def choose(self, policy: Policy, pods: PodView, request: RoutingRequest, count: int) -> Choice:
        """At most `count` distinct pods, best first. `pods` must not be empty."""
        if len(pods) <= FEW_PODS:
            return self._choose_of_few(policy, pods, request, count)
        return self.rank(policy, pods, request, policy.costs(pods, request), count)

    def rank(self, policy: Policy, pods: PodView, request: RoutingRequest, costs: FloatColumn, count: int) -> Choice:
        """As `choose`, of costs that have been asked for."""
        if math.isnan(np.add.reduce(costs)):
            unknown = np.isnan(costs)
            if unknown.all():
                costs = _FALLBACK.costs(pods, request)
                return Choice(self._best(costs, count), costs, _UNKNOWN)
            if unknown.any():
                costs = np.where(unknown, np.nanmedian(costs), costs)
        best = self._best(costs, count)
        return Choice(best, costs, policy.branch(pods, best[0], request))

    def _best(self, costs: FloatColumn, count: int) -> list[int]:
        shuffled = self._rng.permutation(len(costs))
        best: list[int] = shuffled[np.argsort(costs[shuffled], kind="stable")[:count]].tolist()
        return best

    def _choose_of_few(self, policy: Policy, pods: PodView, request: RoutingRequest, count: int) -> Choice:
        few = FewPods(pods)
        costs = few_costs(policy, few, request)
        if math.isnan(sum(costs)):
            known = [cost for cost in costs if cost == cost]
            if not known:
                costs = _FALLBACK.few_costs(few, request)
                return Choice(self._best_of_few(costs, count), costs, _UNKNOWN)
            middle = median(known)
            costs = [cost if cost == cost else middle for cost in costs]
        best = self._best_of_few(costs, count)
        return Choice(best, costs, policy.branch(few, best[0], request))

    def _best_of_few(self, costs: list[float], count: int) -> list[int]:
        positions = range(len(costs))
        if len(set(costs)) == len(costs):
            return sorted(positions, key=costs.__getitem__)[:count]
        draw = self._draw
        lots = sorted([(costs[position], draw(), position) for position in positions])
        return [position for _, _, position in lots[:count]]


def few_costs(policy: Policy, few: FewPods, request: RoutingRequest) -> list[float]:
    """What `policy.costs` gives for the same pods."""
    try:
        return policy.few_costs(few, request)
    except ZeroDivisionError:  # where numpy gives infinity
        column: list[float] = policy.costs(few.view, request).tolist()
        return column
