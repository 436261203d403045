"""`least-utilization`: the pod whose scarcest resource is least used.

    cost = max(requests in the engine / 256, KV usage, waiting requests / 16), a ratio

256 is vLLM's default batch (max_num_seqs), which engines do not report; 16 queued requests count as saturated. Polled
numbers are corrected by what was booked since the poll. What an engine does not report is left out of the maximum; a
pod that reports nothing is unknown, and when all are, least-request decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest

MAX_RUNNING_REQUESTS = 256.0
"""VLLM's default of `max_num_seqs`."""
SATURATED_WAITING_REQUESTS = 16.0


class LeastUtilization(Policy):
    """Lowest maximum first."""

    name = "least-utilization"
    scale = 0.5
    term_names = ("utilization",)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """The maximum: it has no summands."""
        del request
        return [
            (
                _larger_known(
                    _larger_known(running / MAX_RUNNING_REQUESTS, kv_ratio), waiting / SATURATED_WAITING_REQUESTS
                ),
            )
            for running, kv_ratio, waiting in zip(
                pods.engine_requests, pods.kv_usage_ratio, pods.waiting_requests, strict=True
            )
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By KV usage, which rises with everything else."""
        del request
        return pods.kv_usage_ratio


def _larger_known(first: float, second: float) -> float:
    return first if first >= second or second != second else second
