"""`least-utilization`: the pod whose scarcest resource is least used.

    cost = max(requests in the engine / 256, KV usage, waiting requests / 16), a ratio

256 is vLLM's default batch (max_num_seqs), which engines do not report; 16 queued requests count as saturated. Polled
numbers are corrected by what was booked since the poll. What an engine does not report is left out of the maximum; a
pod that reports nothing is unknown, and when all are, least-request decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.formulas import larger_known
from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView

MAX_RUNNING_REQUESTS = 256.0
SATURATED_WAITING_REQUESTS = 16.0


class LeastUtilization(Policy):
    """Lowest maximum first."""

    name = "least-utilization"
    one_by_one = True
    scale = 0.5

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """The maximum: it has no summands."""
        del request
        running = pods.engine_requests / MAX_RUNNING_REQUESTS
        waiting = pods.waiting_requests / SATURATED_WAITING_REQUESTS
        return {"utilization": larger_known(larger_known(running, pods.kv_usage_ratio), waiting)}
