"""Who knows what nobody can know: true caches, true speeds and queues, and how long each answer will be.

    cost = the request's own time, as its engine would take it now
         + the time for which its prompt delays the answers under way and the prompts behind it

It looks at each request as it comes and does not know the next: a bound by measure, not by proof. What beats it shows
that knowing is not all.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from benchmarks.routing.peers.peer import Peer

if TYPE_CHECKING:
    from benchmarks.routing.workloads import Arrival
    from simulator import LeapingEngine


class Clairvoyant(Peer):
    """The least time of all: the own, to the last token, and what others lose."""

    shares_counts = shares_index = True
    decoding_weight = 1.0

    def choose(self, arrival: Arrival) -> str:
        """By what the engines will really do."""
        return self.best({address: self._seconds(arrival, self.engines[address]) for address in self.addresses})

    def _seconds(self, arrival: Arrival, engine: LeapingEngine) -> float:
        load, config = engine.load(), engine.config
        uncached = engine.uncached_tokens(arrival.prompt_tokens, arrival.prefix)
        context = arrival.prompt_tokens - uncached
        step = config.step_seconds(0, load.decoding, load.context_tokens)
        own_seconds = (
            ceil(uncached / config.max_batched_tokens) * step
            + config.prefill_seconds_per_token * uncached
            + config.prefill_seconds_per_pair * uncached * (context + 0.5 * uncached)
        )
        queue_seconds = load.prefill_tokens * config.prefill_seconds_per_token
        queue_seconds += config.prefill_seconds_per_pair * load.prefill_pairs
        queue_seconds += ceil(load.prefill_tokens / config.max_batched_tokens) * step
        full = max(0, len(engine.running) + load.waiting + 1 - config.max_num_seqs)
        queue_seconds += full * load.mean_output_left * step / max(1, load.decoding)
        if arrival.adapter and not engine.adapters.has_room(arrival.adapter):
            queue_seconds += load.mean_output_left * step
        elif arrival.adapter and not engine.adapters.is_loaded(arrival.adapter):
            own_seconds += config.lora_load_seconds
        beside = config.step_seconds(0, load.decoding + 1, load.context_tokens + arrival.prompt_tokens)
        decode_seconds = arrival.output_tokens * beside
        slower = (beside - step) * min(arrival.output_tokens, load.mean_output_left) * load.decoding
        harm = own_seconds * (load.waiting + self.decoding_weight * load.decoding) + self.decoding_weight * slower
        price = 1.0 + queue_seconds / max(own_seconds, 0.25)
        return engine.slowness * (
            queue_seconds + own_seconds * price + self.decoding_weight * decode_seconds + self.harm_weight * harm
        )

    harm_weight = 0.1


class ClairvoyantForFirstTokens(Clairvoyant):
    """As if answers ended with their first token."""

    decoding_weight = 0.02
    harm_weight = 0.3
