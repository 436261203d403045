"""`prefix-cache-and-load` (alias `prefix-cache-preble`): the least work, queued and own, in seconds.

    cost = (prefill backlog + price * (prompt - best match + (best match - own match) / holders)) / prefill rate
         + (output tokens * seconds that a request adds to a token + 5 % of the own prefill time) * requests in flight
         + kvBarrierSeconds * uncached share * k / (1 - k),  k = KV usage with the prompt in it
         + waiting for a slot of the LoRA adapter
         + 2 % of the own prefill time * rendezvous draw
    price = 1 + mean prefill backlog of the pods / max(prompt, 2048)

One cost instead of thresholds: a cached prefix is worth the prefill time it saves, so a pod that holds the prompt wins
until its queue is longer than that. What several pods hold (holders: those with the longest match) is popular, and one
more copy of it pays off, so it counts for less. Work delays whoever comes behind it, and the longer the queues, the
more of them there are: its price is 1 / (1 - load), known by the queues that load makes. Without it everybody leaves a
cache for a queue that is a little shorter, and all queues grow by what is then computed again. The second term is what
decoding beside others costs: each open request lengthens every step, by as much as the pod's pages have shown
(`routing.pods.decode_pace`; before, by decodeShare of 10 ms), and all of them stand still while a prompt is computed.
The third keeps new prompts off pods whose memory is nearly full, the fourth adapters off pods that are busy with others
(`routing.pods.adapters_in_use`); the last sends prompts that nobody holds to the same pod on every replica. Backlog and
prefill rate are set right by every poll and every first token (see `routing.pods.engine_polls` and `prefill_pace`), and
a rate of 8,000 tokens/s is assumed before the first; unknown KV usage counts as none. Without a prompt it is least work
by what is queued. The idea is Preble's (Srivatsa et al. 2024), the barrier that of SGLang's router.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.least_latency import DEFAULT_TPOT_SECONDS
from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest

_MAX_KV_RATIO = 0.99
"""At a full cache the price would be infinite."""
_PREFERENCE_SHARE = 0.02
# What a prompt holds up others' answers, beside what holding up their first tokens counts as: with all of it, requests
# leave caches for pods that decode less, and wait longer for their own first token; with none, agents that share a long
# context crowd one pod, and decode slowly there (p99 end to end 1.3 times as long).
_STALL_SHARE = 0.05
# An engine computes shorter prompts together, in one step of this many tokens (vLLM's default).
_STEP_TOKENS = 2048.0
# A request without output is still a step; without it, requests of unknown length would not see each other.
_MIN_OUTPUT_TOKENS = 1.0


class PrefixCacheAndLoad(Policy):
    """Least expected seconds first."""

    name = "prefix-cache-and-load"
    needs_body = True
    needs_prefix = True
    term_names = ("queued_prefill", "own_prefill", "decode", "kv_barrier", "adapter", "preference")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Seconds: queue, own prefill, decoding beside others, memory pressure, preference."""
        works = pods.works()
        price = _price(request, pods.mean_backlog_tokens([work[1] for work in works]))
        best, holders = pods.best_match_tokens, pods.holders
        unheld_tokens, prompt_tokens = max(request.prompt_tokens - best, 0.0), max(request.prompt_tokens, 1.0)
        output_tokens, barrier = max(request.output_tokens, _MIN_OUTPUT_TOKENS), request.config["kvBarrierSeconds"]
        unknown_seconds = DEFAULT_TPOT_SECONDS * request.config["decodeShare"]
        terms: list[tuple[float, ...]] = []
        for (rate, backlog, requests, each_seconds, kv_ratio, capacity), matched, adapter_seconds, preference in zip(
            works,
            pods.matched_tokens,
            pods.adapter_seconds(request.model, output_tokens),
            pods.cold_preferences(request.prefix, request.prefix_tokens),
            strict=True,
        ):
            own_seconds = (unheld_tokens + (best - matched) / holders) / rate
            token_seconds = each_seconds if each_seconds == each_seconds else unknown_seconds
            pressure = 0.0
            if kv_ratio and matched < prompt_tokens:
                used = kv_ratio + (prompt_tokens - matched) / capacity
                if used > _MAX_KV_RATIO:
                    used = _MAX_KV_RATIO
                pressure = barrier * (1.0 - matched / prompt_tokens) * used / (1.0 - used)
            terms.append(
                (
                    backlog / rate,
                    own_seconds * price,
                    (output_tokens * token_seconds + own_seconds * _STALL_SHARE) * requests,
                    pressure,
                    adapter_seconds,
                    own_seconds * _PREFERENCE_SHARE * preference,
                )
            )
        return terms

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By the queue, and what decoding beside others costs."""
        return pods.prefill_backlog_seconds + _decode_seconds(request) * pods.inflight_requests

    def branch(self, pods: Candidates, position: int, request: RoutingRequest) -> str:
        """Whether the best match won, a lesser one, or nobody had any."""
        del request
        best = pods.best_match_tokens
        if not best:
            return "cold"
        return "best_match" if pods.matched_tokens[position] == best else "less_work"


def _price(request: RoutingRequest, mean_backlog_tokens: float) -> float:
    return 1.0 + mean_backlog_tokens / max(request.prompt_tokens, _STEP_TOKENS)


def _decode_seconds(request: RoutingRequest) -> float:
    """What each request in flight adds to this one's decoding, on a pod of mean speed."""
    output_tokens = max(request.output_tokens, _MIN_OUTPUT_TOKENS)
    return output_tokens * DEFAULT_TPOT_SECONDS * request.config["decodeShare"]
