"""Continuous batching as a pure, synchronous model: the clock is passed in, token events come out.

Work happens in steps, one after the other. The scheduler fills a step's batch at its beginning; the step lasts
`EngineConfig.step_seconds`, times the jitter; at its end each decoding sequence has one more token, and each completed
prompt its first. On an idle engine whose attention costs nothing, with n uncached tokens and no jitter:
`TTFT = prefill_overhead + ceil(n / max_batched_tokens) * decode_base + n * prefill_per_token`,
and b sequences that decode together see `decode_base + b * decode_per_sequence` between tokens.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.counters import EngineCounters
from simulator.scheduler import Batch, Scheduler
from simulator.sequence import EngineRequest, FinishReason, Sequence, SequenceState, TokenEvent

if TYPE_CHECKING:
    from simulator.config import EngineConfig
    from simulator.kv_cache import KvCache

MAX_JITTER = 0.7  # a step lasts 30 % to 170 % of its mean


@dataclass(frozen=True, slots=True)
class Step:
    """One batch and its time."""

    started_at: float
    ends_at: float
    batch: Batch


class Engine:
    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.counters = EngineCounters()
        self.slowness = 1.0
        """By how much steps that begin from now on take longer: heat, or a noisy neighbour."""
        self.arriving: deque[Sequence] = deque()  # in the front end, on their way to the queue
        self._scheduler = Scheduler(config, self.counters)
        self._step: Step | None = None
        self._rng = random.Random(config.seed)

    @property
    def running(self) -> list[Sequence]:
        return self._scheduler.running

    @property
    def waiting(self) -> deque[Sequence]:
        return self._scheduler.waiting

    @property
    def cache(self) -> KvCache:
        return self._scheduler.cache

    def __repr__(self) -> str:
        queues = f"arriving={len(self.arriving)} waiting={len(self.waiting)} running={len(self.running)}"
        return f"<Engine {queues} blocks={self.cache.held_blocks}/{self.cache.capacity_blocks}>"

    def submit(self, request: EngineRequest, now: float) -> Sequence:
        """Hand over a request; `now` never goes back from one call to the next."""
        if request.prompt_tokens < 1 or request.prompt_tokens + request.output_tokens > self.config.max_model_len:
            raise ValueError(f"prompt and answer must have 1 to {self.config.max_model_len} tokens")
        sequence = Sequence(request, arrived_at=now, ready_at=now + self.config.prefill_overhead_seconds)
        self.arriving.append(sequence)
        return sequence

    def next_event_time(self) -> float | None:
        """When `advance` has something to do; None while the engine is idle."""
        if self._step is not None:
            return self._step.ends_at
        return self.arriving[0].ready_at if self.arriving else None

    def advance(self, now: float) -> list[TokenEvent]:
        """Do all that happens up to `now`, each thing at its own time."""
        events: list[TokenEvent] = []
        while (at := self.next_event_time()) is not None and at <= now:
            if self._step is not None:
                self._complete(self._step, events)
            while self.arriving and self.arriving[0].ready_at <= at:
                self.waiting.append(self.arriving.popleft())
            self._step = self._begin_step(at)
        return events

    def abort(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is. A step under way keeps its duration: the card cannot be called back."""
        if sequence.state is SequenceState.FINISHED:
            return
        if sequence in self.arriving:
            self.arriving.remove(sequence)
        else:
            self._scheduler.remove(sequence)
        self._end(sequence, "abort")

    def _begin_step(self, now: float) -> Step | None:
        batch = self._scheduler.schedule(now)
        if batch is None:
            return None
        seconds = self.config.step_seconds(
            batch.prefill_tokens,
            len(batch.decoding),
            batch.context_tokens,
            batch.prefill_pairs,
            batch.adapters_loaded,
        )
        return Step(now, now + seconds * self._jitter() * self.slowness, batch)

    def _jitter(self) -> float:
        deviation = self._rng.gauss(0.0, self.config.jitter) if self.config.jitter else 0.0
        return 1.0 + min(MAX_JITTER, max(-MAX_JITTER, deviation))

    def _complete(self, step: Step, events: list[TokenEvent]) -> None:
        # Sequences aborted during the step are no longer running.
        decoded = [sequence for sequence in step.batch.decoding if sequence.state is SequenceState.RUNNING]
        if decoded:
            self.counters.inter_token_latency_seconds.observe(step.ends_at - step.started_at, len(decoded))
        for sequence in decoded:
            self._emit(sequence, step.ends_at, events)
        for sequence in step.batch.prefilling:
            if sequence.state is SequenceState.RUNNING and not sequence.is_prefilling:
                self._complete_prefill(sequence, step.ends_at)
                self._emit(sequence, step.ends_at, events)

    def _complete_prefill(self, sequence: Sequence, at: float) -> None:
        if sequence.last_token_at is not None:  # computed again after a preemption
            self.counters.inter_token_latency_seconds.observe(at - sequence.last_token_at)
            return
        sequence.first_token_at = at
        self.counters.prompt_tokens += sequence.request.prompt_tokens
        self.counters.time_to_first_token_seconds.observe(at - sequence.arrived_at)

    def _emit(self, sequence: Sequence, at: float, events: list[TokenEvent]) -> None:
        request = sequence.request
        sequence.last_token_at = at
        if request.output_tokens:
            sequence.generated_tokens += 1
            self.counters.generation_tokens += 1
        reason = request.finish_reason if sequence.generated_tokens == request.output_tokens else None
        events.append(TokenEvent(sequence, sequence.generated_tokens, at, reason))
        if reason is not None:
            self._record_times(sequence, at)
            self._scheduler.remove(sequence)
            self._end(sequence, reason)

    def _record_times(self, sequence: Sequence, at: float) -> None:
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

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        sequence.state = SequenceState.FINISHED
        self.counters.finished[reason] += 1
