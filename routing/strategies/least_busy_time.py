"""`least-busy-time`: the pod that has had work for the smallest share of the last minute.

    cost = busy seconds of the last minute / 60 + 0.01 * requests in flight

measured from leases: a pod is busy while the gateway has at least one request open on it. Shares of a minute change
slowly, and alone they would send a minute's traffic from one pod to the next; the second term lets simultaneous
requests see each other. Never degrades; says nothing of how much work there was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest

_TIE_WEIGHT = 0.01


class LeastBusyTime(Policy):
    """Smallest busy share first."""

    name = "least-busy-time"
    scale = 0.5
    term_names = ("busy_ratio", "tie")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """The busy share, and the tie-break."""
        del request
        return [
            (busy, _TIE_WEIGHT * requests)
            for busy, requests in zip(pods.busy_ratio, pods.inflight_requests, strict=True)
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By the busy share."""
        del request
        return pods.busy_ratio
