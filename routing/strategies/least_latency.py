"""`least-latency`: the pod that is expected to finish this request first.

    cost = (prefill backlog + prompt) / prefill rate
         + output tokens * 10 ms * relative TPOT * (1 + decodeShare * requests in flight)

in seconds. Past times contain past queues, and whoever follows them runs from pod to pod; so the queue is counted as
it is now, and measured times (EWMA over the streams in Envoy's access log; the engine's own histograms until there are
any) tell only how fast a pod is beside the others: TPOT for decoding, TTFT for prefill where the engine does not tell
its rate. A pod without a measured TTFT is unknown, and when all are, least-request decides.
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
        per_request = request.config["decodeShare"]
        decode_seconds = request.output_tokens * DEFAULT_TPOT_SECONDS
        rates = pods.prefill_tokens_per_second
        return [
            (
                backlog * (token_seconds := (1.0 if measured else ttft_ratio) / rate),
                request.prompt_tokens * token_seconds if ttft == ttft else nan,
                decode_seconds * tpot_ratio * (1.0 + per_request * requests),
            )
            for backlog, rate, measured, ttft, ttft_ratio, tpot_ratio, requests in zip(
                pods.backlog_tokens(rates),
                rates,
                pods.prefill_is_measured,
                pods.ttft_seconds,
                pods.relative_ttft,
                pods.relative_tpot,
                pods.inflight_requests,
                strict=True,
            )
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By the queue, and what decoding beside others costs."""
        per_request = request.config["decodeShare"] * request.output_tokens * DEFAULT_TPOT_SECONDS
        return pods.prefill_backlog_seconds + per_request * pods.inflight_requests
