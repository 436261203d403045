"""`throughput`: the pod that has had the fewest tokens to work on.

    cost = 1 * prompt tokens + 2 * output tokens, of requests that ended in the last minute and of those in flight

in weighted tokens; an output token costs about twice a prompt token to serve (the weights of VTC, Sheng et al. 2024).
Counts are estimates while a request runs and become the engine's own when Envoy's log brings them. Blind to the speed
of pods and to the cache. Never degrades: the counts are the gateway's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView

PROMPT_WEIGHT = 1.0
OUTPUT_WEIGHT = 2.0


class Throughput(Policy):
    """Fewest weighted tokens first."""

    name = "throughput"
    needs_body = True
    scale = 10_000.0

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Weighted tokens, ended and in flight."""
        del request
        return {
            "ended": PROMPT_WEIGHT * pods.window_prompt_tokens + OUTPUT_WEIGHT * pods.window_output_tokens,
            "inflight": PROMPT_WEIGHT * pods.inflight_prompt_tokens + OUTPUT_WEIGHT * pods.inflight_output_tokens,
        }
