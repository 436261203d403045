"""`least-latency`: the pod that is expected to finish this request first.

    cost = (prefill backlog + prompt) / prefill rate
         + output tokens * (seconds of a step + seconds that a request adds to it * requests in flight)

in seconds. Measured times are no part of it: they contain past queues, and whoever follows them runs from pod to pod.
The queue is counted as it is now, and what is learned of a pod is how fast it computes (`routing.pods.prefill_pace`)
and decodes (`routing.pods.decode_pace`; 10 ms a step, and decodeShare of that a request, before its first page). A pod
whose prefill rate nobody has told is unknown, and when all are, least-request decides.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest

DEFAULT_TPOT_SECONDS = 0.01
"""While nothing was measured."""


class LeastLatency(Policy):
    """Shortest expected time first."""

    name = "least-latency"
    needs_body = True
    term_names = ("queue", "prefill", "decode")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Seconds in the queue, of prefill, and of decoding."""
        rates, output_tokens = pods.prefill_tokens_per_second, request.output_tokens
        return [
            (backlog / rate, request.prompt_tokens / rate if measured else nan, output_tokens * step_seconds)
            for backlog, rate, measured, step_seconds in zip(
                pods.backlog_tokens(rates),
                rates,
                pods.prefill_is_measured,
                pods.step_seconds(DEFAULT_TPOT_SECONDS, DEFAULT_TPOT_SECONDS * request.config["decodeShare"]),
                strict=True,
            )
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By the queue, and what decoding beside others costs."""
        per_request = request.config["decodeShare"] * request.output_tokens * DEFAULT_TPOT_SECONDS
        return pods.prefill_backlog_seconds + per_request * pods.inflight_requests
