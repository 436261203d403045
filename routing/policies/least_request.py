"""`least-request`: the pod with the fewest requests in flight.

cost = requests that this gateway has open on the pod, counted from selection to the end of the HTTP exchange; ties are
broken at random. Never degrades: the count is the gateway's own. Blind to prompt length, output length and the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.few_pods import FewPods
    from routing.policy import RoutingRequest
    from routing.view import PodView


class LeastRequest(Policy):
    """Fewest open requests first."""

    name = "least-request"
    scale = 16.0

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Open requests per pod."""
        del request
        return {"inflight_requests": pods.inflight_requests}

    def few_costs(self, pods: FewPods, request: RoutingRequest) -> list[float]:
        """As `terms`."""
        del request
        return pods.inflight_requests
