"""`least-kv-cache` (alias `least-gpu-cache`): the pod with the emptiest KV cache.

    cost = KV usage at the last poll + prompt tokens booked since / KV capacity, a ratio

Needs the engine's metrics: a pod whose numbers are missing or stale is unknown, and when all are, least-request
decides. Usage counts blocks that requests hold, not what lies idle in the prefix cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest


class LeastKvCache(Policy):
    """Lowest KV usage first."""

    name = "least-kv-cache"
    needs_body = True
    scale = 0.5
    term_names = ("kv_usage_ratio",)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """KV usage, corrected by what was booked since the poll."""
        del request
        return list(zip(pods.kv_usage_ratio))

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By usage."""
        del request
        return pods.kv_usage_ratio
