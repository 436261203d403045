"""`least-latency`: the pod that is expected to finish this request first.

    cost = TTFT + prefill backlog / prefill rate + output tokens * TPOT * (1 + decodeShare * in flight),  seconds

TTFT and TPOT are means of the pod's finished streams (EWMA over Envoy's access log; the engine's own histograms until
there are any). They lag, so what is queued and open now is added: the backlog before the first token, and after it
decodeShare, a twentieth of a step, per open request (a batch of 20 doubles the time per token of an 8B model). A pod
without a measured TTFT is unknown; without TPOT, 10 ms are assumed. All unknown: least-request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.options import option
from routing.policy import Policy
from routing.view import where_unknown

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView

DEFAULT_TPOT_SECONDS = 0.01


class LeastLatency(Policy):
    """Shortest expected time first."""

    name = "least-latency"
    needs_body = True

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Seconds until the first token, in the queue, and of decoding."""
        tpot_seconds = where_unknown(pods.tpot_seconds, DEFAULT_TPOT_SECONDS)
        slowdown = 1.0 + option(request, "decodeShare") * pods.inflight_requests
        return {
            "ttft": pods.ttft_seconds,
            "prefill_backlog": pods.prefill_backlog_seconds,
            "decode": request.output_tokens * tpot_seconds * slowdown,
        }
