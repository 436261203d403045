"""`least-request`: the pod with the fewest requests in flight.

cost = requests that this gateway has open on the pod, counted from selection to the end of the HTTP exchange; ties are
broken at random. Never degrades: the count is the gateway's own. Blind to prompt length, output length and the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView


class LeastRequest:
    """Fewest open requests first."""

    name: ClassVar[str] = "least-request"
    needs_body: ClassVar[bool] = False

    def costs(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """Open requests per pod."""
        del request
        return pods.inflight_requests
