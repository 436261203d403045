"""`throughput`: the pod that has had the fewest tokens to work on.

    cost = promptTokenWeight * prompt tokens + outputTokenWeight * output tokens

of requests that ended in the last minute and of those in flight; the weights are 1 and 2, those of VTC (Sheng et al.
2024). Counts are estimates while a request runs and become the engine's own when Envoy's log brings them. Blind to the
speed of pods and to the cache. Never degrades: the counts are the gateway's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest


class Throughput(Policy):
    """Fewest weighted tokens first."""

    name = "throughput"
    needs_body = True
    scale = 10_000.0
    term_names = ("ended", "inflight")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Weighted tokens, ended and in flight."""
        weight, output_weight = request.config["promptTokenWeight"], request.config["outputTokenWeight"]
        return [
            (weight * ended + output_weight * ended_output, weight * prompt + output_weight * output)
            for ended, ended_output, prompt, output in zip(
                pods.window_prompt_tokens,
                pods.window_output_tokens,
                pods.inflight_prompt_tokens,
                pods.inflight_output_tokens,
                strict=True,
            )
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By what ended and what is in flight, unweighted."""
        del request
        ended = pods.window_prompt_tokens + pods.window_output_tokens
        return ended + pods.inflight_prompt_tokens + pods.inflight_output_tokens
