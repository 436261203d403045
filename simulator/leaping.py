"""The same engine for virtual time: steps in which nothing but decoding happens are taken many at once.

Between two changes (a prompt, an end, a block's edge) every step decodes the same sequences, and its length depends on
nothing else; so its end can be written down ahead. A leap is a list of such ends, exactly those that `Engine` would
have come to, jitter included. A request that comes amid a leap cuts it after the step that it would have waited for.
Told are the tokens of a leap's last step only: first tokens and ends are among them, others need not be.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING

from simulator.engine import Engine, Step
from simulator.sequence import SequenceState

if TYPE_CHECKING:
    from simulator.config import EngineConfig
    from simulator.scheduler import Batch
    from simulator.sequence import EngineRequest, Sequence, TokenEvent


class LeapingEngine(Engine):
    """One event per change instead of one per step. Call `advance` before `abort`, so that the past is done."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._ends: list[float] = []  # of the steps of the leap under way
        self._factors: list[float] = []  # their jitter
        self._drawn = 1.0
        self._undone: deque[float] = deque()  # jitter of steps that were cut off: the next ones get it

    def submit(self, request: EngineRequest, now: float) -> Sequence:
        """As `Engine.submit`."""
        sequence = super().submit(request, now)
        self._cut(bisect_left(self._ends, sequence.ready_at) + 1)
        return sequence

    def advance(self, now: float) -> list[TokenEvent]:
        """As `Engine.advance`, also amid a leap."""
        events: list[TokenEvent] = []
        while self._step is not None and (ended := bisect_right(self._ends, now)):
            self._cut(ended)
            events += super().advance(now)
        return events + super().advance(now)

    def abort(self, sequence: Sequence) -> None:
        """As `Engine.abort`; the step under way is the last of its batch."""
        self._cut(1)
        super().abort(sequence)

    def _begin_step(self, now: float) -> Step | None:
        step = super()._begin_step(now)
        self._ends, self._factors = [], []
        if step is None:
            return None
        self._ends, self._factors = [step.ends_at], [self._drawn]
        if not step.batch.prefilling:
            self._look_ahead(step.batch)
        return Step(now, self._ends[-1], step.batch)

    def _look_ahead(self, batch: Batch) -> None:
        """Writes down the ends of all further steps of the same batch, up to the next request's coming."""
        seconds = self.config.step_seconds(0, len(batch.decoding))
        ready_at = self.arriving[0].ready_at if self.arriving else float("inf")
        end, ends, factors = self._ends[-1], self._ends, self._factors
        for _ in range(min(map(self._further_steps, batch.decoding))):
            if end >= ready_at:
                return
            factors.append(self._jitter())
            end += seconds * factors[-1]
            ends.append(end)

    def _further_steps(self, sequence: Sequence) -> int:
        """After the scheduled one, without an end and without a block filled or needed."""
        block_tokens = self.config.block_tokens
        filled = sequence.computed_tokens % block_tokens
        until_edge = block_tokens - 1 - filled if filled else 0
        return min(until_edge, sequence.request.output_tokens - sequence.generated_tokens - 1)

    def _jitter(self) -> float:
        self._drawn = self._undone.popleft() if self._undone else super()._jitter()
        return self._drawn

    def _cut(self, steps: int) -> None:
        if self._step is None or steps >= len(self._ends):
            return
        self._undone.extendleft(reversed(self._factors[steps:]))
        del self._ends[steps:], self._factors[steps:]
        self._step = Step(self._step.started_at, self._ends[-1], self._step.batch)

    def _complete(self, step: Step, events: list[TokenEvent]) -> None:
        started_at, further = step.started_at, len(self._ends) - 1
        if further:
            decoded = [sequence for sequence in step.batch.decoding if sequence.state is SequenceState.RUNNING]
            for end in self._ends[:-1]:
                self.counters.inter_token_latency_seconds.observe(end - started_at, len(decoded))
                started_at = end
            for sequence in decoded:
                sequence.computed_tokens += further
                sequence.generated_tokens += further
            self.counters.generation_tokens += further * len(decoded)
        super()._complete(Step(started_at, step.ends_at, step.batch), events)
