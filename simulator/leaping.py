"""The same engine for virtual time: what it costs depends on requests, and not on their tokens or on the batch.

All decoding sequences go one token further in each step, so that a count of steps says how far every one of them is,
and two heaps say at which count one ends or comes to a block's edge. Steps in which nothing but decoding happens are
one leap; a request that comes amid a leap cuts it after the step that it would have waited for. Without jitter the
times are those of `Engine`; with it, a leap of n steps is drawn once, as wide as the sum of n draws would be.
Told are first tokens and ends only.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from math import sqrt
from typing import TYPE_CHECKING

from simulator.adapter_slots import AdapterSlots
from simulator.counters import EngineCounters
from simulator.engine import MAX_JITTER
from simulator.kv_cache import KvCache
from simulator.leap import Leap
from simulator.sequence import Sequence, SequenceState, TokenEvent

if TYPE_CHECKING:
    from simulator.config import EngineConfig
    from simulator.sequence import EngineRequest, FinishReason

_PUBLISH, _GROW = 0, 1


@dataclass(slots=True, eq=False)
class _Leaper(Sequence):
    """`computed_tokens` and `generated_tokens` are those of the step count `joined_at`."""

    number: int = 0
    joined_at: int = -1  # below 0 while it does not decode


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine has before it, truly: nobody outside can know."""

    decoding: int
    context_tokens: int
    waiting: int
    prefill_tokens: int
    """Of prompts that wait or are under way, what is not cached."""
    prefill_pairs: float
    mean_output_left: float
    """Tokens that a decoding sequence will still have, in the mean."""


class LeapingEngine:
    """One event per change. Call `advance` before `abort` and before reading numbers, so that the past is done."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.counters = EngineCounters()
        self.slowness = 1.0
        """By how much steps that begin from now on take longer."""
        self.arriving: deque[_Leaper] = deque()
        self.waiting: deque[_Leaper] = deque()
        self.running: dict[_Leaper, None] = {}
        """Oldest first; only the last one can be amid its prompt."""
        self.cache = KvCache(config.num_blocks)
        self.adapters = AdapterSlots(config.max_loras)
        self._leap: Leap | None = None
        self._prefilling: list[_Leaper] = []
        """Whose chunks are in the step under way."""
        self._partial: _Leaper | None = None
        self._steps = self._decoding = self._context_tokens = self._started = 0
        self._ends: list[tuple[int, int, _Leaper, int]] = []
        self._edges: list[tuple[int, int, int, _Leaper, int]] = []
        self._gauss = random.Random(config.seed).gauss

    def submit(self, request: EngineRequest, now: float) -> Sequence:
        """As `Engine.submit`."""
        if request.prompt_tokens < 1 or request.prompt_tokens + request.output_tokens > self.config.max_model_len:
            raise ValueError(f"prompt and answer must have 1 to {self.config.max_model_len} tokens")
        sequence = _Leaper(request, arrived_at=now, ready_at=now + self.config.prefill_overhead_seconds)
        self.arriving.append(sequence)
        leap = self._leap
        if leap is not None and leap.steps > 1 and sequence.ready_at < leap.ends_at_seconds:
            leap.steps = min(leap.steps, leap.until(sequence.ready_at))
        return sequence

    def uncached_tokens(self, prompt_tokens: int, hashes: tuple[int, ...]) -> int:
        """What of a prompt would have to be computed."""
        block_tokens = self.config.block_tokens
        reusable = min(self.cache.cached_blocks(hashes), (prompt_tokens - 1) // block_tokens)
        return prompt_tokens - reusable * block_tokens

    def load(self) -> Load:
        """All that is known of it at the last event."""
        tokens, pairs, begun = 0, 0.0, [] if self._partial is None else [self._partial]
        for sequence in (*begun, *self.waiting, *self.arriving):
            left = sequence.prefill_target - sequence.computed_tokens
            if sequence not in self.running:
                left = self.uncached_tokens(sequence.known_tokens, sequence.request.block_hashes)
            tokens += left
            pairs += left * (sequence.known_tokens - 0.5 * left)
        decoding = self._decoding
        left_outputs = sum(
            each.request.output_tokens - each.generated_tokens - (self._steps - each.joined_at)
            for each in self.running
            if each.joined_at >= 0
        )
        waiting = len(self.waiting) + len(self.arriving)
        return Load(decoding, self._context_tokens, waiting, tokens, pairs, left_outputs / max(1, decoding))

    def next_event_time(self) -> float | None:
        """As `Engine.next_event_time`."""
        if self._leap is not None:
            return self._leap.ends_at_seconds
        return self.arriving[0].ready_at if self.arriving else None

    def advance(self, now: float) -> list[TokenEvent]:
        """As `Engine.advance`; amid a leap, its steps that are past are done."""
        events: list[TokenEvent] = []
        while (at := self.next_event_time()) is not None and at <= now:
            if self._leap is not None:
                self._decode(self._leap, self._leap.steps)
                self._complete(at, events)
            while self.arriving and self.arriving[0].ready_at <= at:
                self.waiting.append(self.arriving.popleft())
            self._leap = self._schedule(at)
        if self._leap is not None and self._leap.steps > 1 and (past := self._leap.done_by(now)):
            self._decode(self._leap, past)
            self._leap.skip(past)
        return events

    def abort(self, sequence: Sequence) -> None:
        """As `Engine.abort`; the step under way is the last of its batch."""
        assert isinstance(sequence, _Leaper)
        if sequence.state is SequenceState.FINISHED:
            return
        if self._leap is not None:
            self._leap.steps = 1
        if sequence.state is SequenceState.RUNNING:
            self._take_out(sequence)
        elif sequence in self.arriving:
            self.arriving.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._end(sequence, "abort")

    def _decode(self, leap: Leap, steps: int) -> None:
        """Steps of a leap are past."""
        decoding = self._decoding
        self._steps += steps
        if decoding:
            mean_seconds = (leap.after(steps) - leap.began_at_seconds) / steps
            self.counters.inter_token_latency_seconds.observe(mean_seconds, steps * decoding)
            self.counters.generation_tokens += steps * decoding
            self._context_tokens += steps * decoding

    def _complete(self, at: float, events: list[TokenEvent]) -> None:
        """Tells who ended, and of whose prompts this was the last chunk."""
        ends, steps = self._ends, self._steps
        while ends and ends[0][0] <= steps:
            _, _, sequence, joined_at = heappop(ends)
            if sequence.joined_at == joined_at:
                self._take_out(sequence)
                self._finish(sequence, at, events)
        for sequence in self._prefilling:
            if sequence.state is SequenceState.RUNNING and sequence.computed_tokens >= sequence.prefill_target:
                self._first_token(sequence, at, events)
        self._prefilling = []

    def _first_token(self, sequence: _Leaper, at: float, events: list[TokenEvent]) -> None:
        request, counters = sequence.request, self.counters
        if sequence.last_token_at is None:
            sequence.first_token_at = at
            counters.prompt_tokens += request.prompt_tokens
            counters.time_to_first_token_seconds.observe(at - sequence.arrived_at)
        else:  # computed again after a preemption
            counters.inter_token_latency_seconds.observe(at - sequence.last_token_at)
        sequence.last_token_at = at
        if request.output_tokens:
            sequence.generated_tokens += 1
            counters.generation_tokens += 1
        if sequence.generated_tokens == request.output_tokens:
            self._take_out(sequence)
            self._finish(sequence, at, events)
            return
        events.append(TokenEvent(sequence, sequence.generated_tokens, at, None))
        self._join(sequence)

    def _join(self, sequence: _Leaper) -> None:
        """It decodes from the next step on."""
        steps, block_tokens, computed = self._steps, self.config.block_tokens, sequence.computed_tokens
        sequence.joined_at = steps
        self._decoding += 1
        self._context_tokens += computed
        left = sequence.request.output_tokens - sequence.generated_tokens
        heappush(self._ends, (steps + left, sequence.number, sequence, steps))
        if (edge := -computed % block_tokens) < left:
            heappush(self._edges, (steps + edge, sequence.number, _GROW, sequence, steps))
        self._expect_full_block(sequence, computed + (-computed - 1) % block_tokens + 1)

    def _expect_full_block(self, sequence: _Leaper, tokens: int) -> None:
        """The step that brings the sequence to so many tokens fills a block: whoever comes later may reuse it."""
        if tokens // self.config.block_tokens <= len(sequence.request.block_hashes):
            at = sequence.joined_at + tokens - 1 - sequence.computed_tokens
            heappush(self._edges, (at, sequence.number, _PUBLISH, sequence, sequence.joined_at))

    def _schedule(self, now: float) -> Leap | None:
        """The next step, or as many as there are until something changes."""
        edges = self._edges
        while edges and edges[0][0] <= self._steps:
            _, _, kind, sequence, joined_at = heappop(edges)
            if sequence.joined_at == joined_at:
                self._publish_answer(sequence) if kind == _PUBLISH else self._grow(sequence, now)
        decoding = self._decoding
        context_tokens = self._context_tokens + decoding
        budget = self.config.max_batched_tokens - decoding
        pairs, left, loaded = 0.0, budget, 0
        if self._partial is not None:
            tokens, pairs = self._chunk(self._partial, left)
            left -= tokens
        if self.waiting and left > 0:
            left, pairs, loaded = self._admit(now, left, pairs)
        if not decoding and not self._prefilling:
            return None
        config = self.config
        seconds = config.step_seconds(budget - left, decoding, context_tokens, pairs, loaded) * self.slowness
        if self._prefilling:
            return Leap(now, seconds * self._factor(1), 0.0, 1)
        return self._decode_leap(now, seconds, decoding)

    def _decode_leap(self, now: float, seconds: float, decoding: int) -> Leap:
        ends, edges = self._ends, self._edges
        while ends[0][2].joined_at != ends[0][3]:
            heappop(ends)
        steps = ends[0][0] - self._steps
        if edges and edges[0][0] - self._steps < steps:
            steps = edges[0][0] - self._steps
        factor = self._factor(steps)
        growth_seconds = self.config.decode_seconds_per_context_token * decoding * self.slowness * factor
        leap = Leap(now, seconds * factor, growth_seconds, steps)
        if self.arriving and steps > 1 and self.arriving[0].ready_at < leap.ends_at_seconds:
            leap.steps = min(steps, leap.until(self.arriving[0].ready_at))
        return leap

    def _factor(self, steps: int) -> float:
        jitter = self.config.jitter
        if not jitter:
            return 1.0
        deviation = self._gauss(0.0, jitter / sqrt(steps))
        return 1.0 + min(MAX_JITTER, max(-MAX_JITTER, deviation))

    def _chunk(self, sequence: _Leaper, budget: int) -> tuple[int, float]:
        """As much of a prompt as fits: tokens, and pairs of them and those before."""
        before = sequence.computed_tokens
        tokens = min(sequence.prefill_target - before, budget)
        sequence.computed_tokens = end = before + tokens
        block_tokens = self.config.block_tokens
        first, last = before // block_tokens, end // block_tokens
        if last > first:
            self.cache.publish(sequence.allocation, sequence.request.block_hashes[first:last])
        self._partial = sequence if end < sequence.prefill_target else None
        self._prefilling.append(sequence)
        return tokens, tokens * (before + 0.5 * tokens)

    def _admit(self, now: float, left: int, pairs: float) -> tuple[int, float, int]:
        """Starts waiting sequences in order, passing over those whose adapter has no place."""
        waiting, passed_over, loaded = self.waiting, list[_Leaper](), 0
        most = self.config.max_num_seqs
        while waiting and left > 0 and len(self.running) < most:
            sequence = waiting[0]
            adapter = sequence.request.adapter
            if adapter is not None and not self.adapters.has_room(adapter):
                passed_over.append(waiting.popleft())
                continue
            if not self._start(sequence, now):
                break
            waiting.popleft()
            loaded += self.adapters.start(adapter)
            tokens, more_pairs = self._chunk(sequence, left)
            left -= tokens
            pairs += more_pairs
        if passed_over:
            waiting.extendleft(reversed(passed_over))
        return left, pairs, loaded

    def _start(self, sequence: _Leaper, now: float) -> bool:
        block_tokens, target = self.config.block_tokens, sequence.known_tokens
        # The last token is always computed: its output is what the answer begins with.
        allocation = self.cache.admit(
            sequence.request.block_hashes, -(-target // block_tokens), (target - 1) // block_tokens
        )
        if allocation is None:
            return False
        sequence.allocation, sequence.prefill_target, sequence.state = allocation, target, SequenceState.RUNNING
        sequence.computed_tokens = len(allocation.hashes) * block_tokens
        self._started += 1
        sequence.number = self._started
        self.running[sequence] = None
        if sequence.scheduled_at is None:
            sequence.scheduled_at = now
            sequence.cached_tokens = sequence.computed_tokens
            self.counters.prefix_cache_queries += target
            self.counters.prefix_cache_hits += sequence.cached_tokens
        return True

    def _publish_answer(self, sequence: _Leaper) -> None:
        """The step to come fills a block."""
        tokens = sequence.computed_tokens + self._steps - sequence.joined_at + 1
        block = tokens // self.config.block_tokens
        self.cache.publish(sequence.allocation, sequence.request.block_hashes[block - 1 : block])
        self._expect_full_block(sequence, tokens + self.config.block_tokens)

    def _grow(self, sequence: _Leaper, now: float) -> None:
        """One more block, if need be from the youngest."""
        while not self.cache.grow(sequence.allocation):
            victim = next(reversed(self.running))
            self._preempt(victim, now)
            if victim is sequence:
                return
        edge = self._steps + self.config.block_tokens
        heappush(self._edges, (edge, sequence.number, _GROW, sequence, sequence.joined_at))

    def _preempt(self, sequence: _Leaper, now: float) -> None:
        if sequence.joined_at >= 0:
            sequence.last_token_at = now
        self._take_out(sequence)
        sequence.state = SequenceState.WAITING
        sequence.computed_tokens = 0
        sequence.preemptions += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(sequence)

    def _take_out(self, sequence: _Leaper) -> None:
        """Out of the batch: its blocks and its slot are free, its tokens counted."""
        if sequence.joined_at >= 0:
            further = self._steps - sequence.joined_at
            sequence.computed_tokens += further
            sequence.generated_tokens += further
            self._decoding -= 1
            self._context_tokens -= sequence.computed_tokens
            sequence.joined_at = -1
        elif sequence is self._partial:
            self._partial = None
        del self.running[sequence]
        self.cache.release(sequence.allocation)
        self.adapters.end(sequence.request.adapter)

    def _finish(self, sequence: _Leaper, at: float, events: list[TokenEvent]) -> None:
        sequence.last_token_at = at
        scheduled_at, first_token_at = sequence.scheduled_at, sequence.first_token_at
        assert scheduled_at is not None
        assert first_token_at is not None
        counters = self.counters
        counters.e2e_request_latency_seconds.observe(at - sequence.arrived_at)
        counters.request_queue_time_seconds.observe(scheduled_at - sequence.ready_at)
        counters.request_inference_time_seconds.observe(at - scheduled_at)
        counters.request_prefill_time_seconds.observe(first_token_at - scheduled_at)
        counters.request_decode_time_seconds.observe(at - first_token_at)
        counters.request_prompt_tokens.observe(sequence.request.prompt_tokens)
        counters.request_generation_tokens.observe(sequence.generated_tokens)
        events.append(TokenEvent(sequence, sequence.generated_tokens, at, sequence.request.finish_reason))
        self._end(sequence, sequence.request.finish_reason)

    def _end(self, sequence: _Leaper, reason: FinishReason) -> None:
        sequence.state = SequenceState.FINISHED
        self.counters.finished[reason] += 1
