"""`least-kv-cache` (alias `least-gpu-cache`): the pod with the emptiest KV cache.

    cost = KV usage at the last poll + prompt tokens booked since / KV capacity, a ratio

Needs the engine's metrics: a pod whose numbers are missing or stale is unknown, and when all are, least-request
decides. Usage counts blocks that requests hold, not what lies idle in the prefix cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.few_pods import FewPods
    from routing.policy import RoutingRequest
    from routing.view import PodView


class LeastKvCache(Policy):
    """Lowest KV usage first."""

    name = "least-kv-cache"
    needs_body = True
    scale = 0.5

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """KV usage, corrected by what was booked since the poll."""
        del request
        return {"kv_usage_ratio": pods.kv_usage_ratio}

    def few_costs(self, pods: FewPods, request: RoutingRequest) -> list[float]:
        """As `terms`."""
        del request
        return pods.kv_usage_ratio
