"""`least-request`: the pod with the fewest requests in flight.

cost = requests that this gateway has open on the pod, counted from selection to the end of the HTTP exchange; ties are
broken at random. Never degrades: the count is the gateway's own. Blind to prompt length, output length and the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.strategies.policy import RoutingRequest


class LeastRequest(Policy):
    """Fewest open requests first."""

    name = "least-request"
    scale = 16.0
    term_names = ("inflight_requests",)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Open requests per pod."""
        del request
        return list(zip(pods.inflight_requests))
