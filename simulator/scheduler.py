"""Who takes part in the engine's next step, and who has to wait.

Running sequences come first: one token for each that decodes, then the rest of a prompt begun earlier. What is left of
the token budget goes to waiting ones in order of arrival, each admitted only when all blocks of its prompt fit. A
decode that finds no block takes those of the youngest sequence, which returns to the head of the queue and later
computes its prompt and what it had answered again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.adapter_slots import AdapterSlots
from simulator.kv_cache import KvCache
from simulator.sequence import Sequence, SequenceState

if TYPE_CHECKING:
    from simulator.config import EngineConfig
    from simulator.counters import EngineCounters


@dataclass(slots=True)
class Batch:
    """What one step computes."""

    decoding: list[Sequence] = field(default_factory=list)
    prefilling: list[Sequence] = field(default_factory=list)
    prefill_tokens: int = 0
    prefill_pairs: float = 0.0
    """Pairs of a prompt's token and one before it, of all chunks."""
    context_tokens: int = 0
    """Of all decoding sequences."""
    adapters_loaded: int = 0


class Scheduler:
    def __init__(self, config: EngineConfig, counters: EngineCounters) -> None:
        self.cache = KvCache(config.num_blocks)
        self.adapters = AdapterSlots(config.max_loras)
        self.running: list[Sequence] = []  # oldest first; only the last one can be amid its prompt
        self.waiting: deque[Sequence] = deque()
        self._config = config
        self._counters = counters

    def schedule(self, now: float) -> Batch | None:
        """The next step's batch, booked; None when there is nothing to do."""
        batch = Batch(self._schedule_decodes())
        batch.context_tokens = sum(sequence.computed_tokens for sequence in batch.decoding)
        if self.running and self.running[-1].is_prefilling:
            self._schedule_chunk(self.running[-1], batch)
        self._admit(batch, now)
        return batch if batch.decoding or batch.prefilling else None

    def remove(self, sequence: Sequence) -> None:
        """Take out a running or waiting sequence; its blocks are free from now on."""
        if sequence.state is SequenceState.RUNNING:
            self.running.remove(sequence)
            self.adapters.end(sequence.request.adapter)
        else:
            self.waiting.remove(sequence)
        self.cache.release(sequence.allocation)

    def _schedule_decodes(self) -> list[Sequence]:
        block_tokens = self._config.block_tokens
        decoding: list[Sequence] = []
        for sequence in tuple(self.running):
            if sequence.state is not SequenceState.RUNNING or sequence.is_prefilling:
                continue
            if sequence.computed_tokens % block_tokens == 0 and not self._grow(sequence):
                continue
            sequence.computed_tokens += 1
            if sequence.computed_tokens % block_tokens == 0:
                self._publish(sequence, sequence.computed_tokens - 1)
            decoding.append(sequence)
        return decoding

    def _grow(self, sequence: Sequence) -> bool:
        """One more block, if need be from the youngest; False when `sequence` itself was the youngest."""
        while not self.cache.grow(sequence.allocation):
            victim = self.running.pop()
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.cache.release(sequence.allocation)
        self.adapters.end(sequence.request.adapter)
        sequence.state = SequenceState.WAITING
        sequence.computed_tokens = 0
        sequence.preemptions += 1
        self._counters.preemptions += 1
        self.waiting.appendleft(sequence)

    def _budget(self, batch: Batch) -> int:
        return self._config.max_batched_tokens - len(batch.decoding) - batch.prefill_tokens

    def _schedule_chunk(self, sequence: Sequence, batch: Batch) -> None:
        before = sequence.computed_tokens
        sequence.computed_tokens = min(sequence.prefill_target, before + self._budget(batch))
        self._publish(sequence, before)
        batch.prefilling.append(sequence)
        tokens = sequence.computed_tokens - before
        batch.prefill_tokens += tokens
        batch.prefill_pairs += tokens * (before + 0.5 * tokens)

    def _publish(self, sequence: Sequence, computed_before: int) -> None:
        """Offer the blocks this step fills: whoever is scheduled later, even in the same step, may reuse them."""
        first, end = computed_before // self._config.block_tokens, sequence.computed_tokens // self._config.block_tokens
        self.cache.publish(sequence.allocation, sequence.request.block_hashes[first:end])

    def _admit(self, batch: Batch, now: float) -> None:
        """Start waiting sequences in order, passing over those whose adapter has no place."""
        passed_over: list[Sequence] = []
        while self.waiting and self._budget(batch) > 0 and len(self.running) < self._config.max_num_seqs:
            sequence = self.waiting[0]
            if not self.adapters.has_room(sequence.request.adapter):
                passed_over.append(self.waiting.popleft())
            elif self._start(sequence, now):
                self.running.append(self.waiting.popleft())
                batch.adapters_loaded += self.adapters.start(sequence.request.adapter)
                self._schedule_chunk(sequence, batch)
            else:
                break
        self.waiting.extendleft(reversed(passed_over))

    def _start(self, sequence: Sequence, now: float) -> bool:
        block_tokens = self._config.block_tokens
        target = sequence.known_tokens
        # The last token is always computed: its output is what the answer begins with.
        reusable = (target - 1) // block_tokens
        allocation = self.cache.admit(sequence.request.block_hashes, -(-target // block_tokens), reusable)
        if allocation is None:
            return False
        sequence.allocation, sequence.prefill_target, sequence.state = allocation, target, SequenceState.RUNNING
        sequence.computed_tokens = len(allocation.hashes) * block_tokens
        if sequence.scheduled_at is None:
            sequence.scheduled_at = now
            sequence.cached_tokens = sequence.computed_tokens
            self._counters.prefix_cache_queries += target
            self._counters.prefix_cache_hits += sequence.cached_tokens
        return True
