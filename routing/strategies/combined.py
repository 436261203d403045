"""Several strategies at once: the weighted mean of what each says against a pod.

Strategies speak different units (requests, tokens, seconds), so each cost becomes a share between 0 and 1 first:

    excess  = cost - lowest cost among the candidates
    share   = excess / (excess + scale)
    total   = sum(weight * share) / sum(weight)

`scale` belongs to the strategy, in its own unit: the excess that is half as bad as an endless one. For requests and a
scale of 16: one request more than the idlest pod is 0.06, 16 are 0.50, 100 are 0.86. Stretching the lowest cost to 0
and the highest to 1 instead (min-max) would make each of these a 1, so that one request of difference could outvote a
whole cached prompt. The excess rather than the cost is compared, so that a difference weighs the same under any load:
101 requests against 100 are again 0.06, where cost / (cost + scale) would give 0.0010, and load would stop to count
just when it matters. Shares keep each strategy's own order, and an overloaded pod does not move the shares of others.

Degradation: a pod unknown to one strategy (NaN) gets the median of that strategy's shares. A strategy that knows no pod
drops out: its terms are 0, its weight goes to the others. When none knows any, all is NaN and the chooser falls back.
"""

from __future__ import annotations

from math import nan
from statistics import median
from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.spec import PodSpec
    from routing.strategies.policy import RequestOutcome, RoutingRequest


class Combined(Policy):
    """A weighted mean of strategies. Its name is the same for all, so that clients cannot create metric labels."""

    name = "combined"

    def __init__(self, weights: Mapping[Policy, int]) -> None:
        """Positive weights of policies with different names."""
        self._weights = dict(weights)
        self.needs_prefix = any(policy.needs_prefix for policy in weights)
        self.needs_body = any(policy.needs_body for policy in weights)

    @property
    def term_names(self) -> tuple[str, ...]:  # type: ignore[override]  # as many as there are parts
        """The strategies' names."""
        return tuple(policy.name for policy in self._weights)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Each strategy's weighted share."""
        costs = {policy: policy.costs(pods, request) for policy in self._weights}
        known = {policy: any(cost == cost for cost in column) for policy, column in costs.items()}
        total = sum(weight for policy, weight in self._weights.items() if known[policy])
        if not total:
            return [(nan,) * len(costs)] * len(pods)
        columns = [
            _shares(column, policy.scale, self._weights[policy] / total) if known[policy] else [0.0] * len(pods)
            for policy, column in costs.items()
        ]
        return list(zip(*columns, strict=True))

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """That of the strategy that weighs most."""
        heaviest = max(self._weights, key=self._weights.__getitem__)
        return heaviest.scan(pods, request)

    def booked(self, pod: PodSpec, request: RoutingRequest) -> None:
        """All parts learn of it."""
        for policy in self._weights:
            policy.booked(pod, request)

    def settled(self, request: RoutingRequest, outcome: RequestOutcome) -> None:
        """All parts learn of it."""
        for policy in self._weights:
            policy.settled(request, outcome)

    def __repr__(self) -> str:
        parts = ",".join(f"{policy.name}:{weight}" for policy, weight in self._weights.items())
        return f"<Combined {parts}>"


def _shares(costs: list[float], scale: float, weight: float) -> list[float]:
    """Weighted; at least one cost must be known."""
    lowest = min(cost for cost in costs if cost == cost)
    # A policy may forbid pods by an infinite cost: then the excess is infinite, or 0 when all are forbidden.
    shares = [weight * (1.0 - scale / (scale + (cost - lowest))) if cost != lowest else 0.0 for cost in costs]
    known = [share for share in shares if share == share]
    if len(known) == len(shares):
        return shares
    middle = median(known)
    return [share if share == share else middle for share in shares]
