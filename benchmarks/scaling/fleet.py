"""Pods that start, serve and drain in virtual time, behind a gateway that sends each request to the least busy one.

A pod costs from the moment it is asked for, through its start, until its last answer after it was told to go; what has
no pod waits in the gateway. All autoscalers have the same gateway and the same drain, so only sizes and their moments
differ, and who goes first: a ReplicaSet takes pods that still start, then the youngest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmarks.routing.agenda import Agenda
from simulator import EngineRequest, LeapingEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scaling.loads import Ask
    from simulator import EngineConfig
    from simulator import Sequence as EngineSequence

LATE_SECONDS = 3.0
"""A first token that takes longer is late; alone on a pod the longest prompts need one second."""
_START_SPREAD = 0.15
"""Standard deviation of a start's duration, as a share of it."""


@dataclass(eq=False, slots=True)
class Pod:
    number: int
    asked_at: float
    ready_at: float
    engine: LeapingEngine
    ready: bool = False
    going: bool = False
    in_flight: int = 0
    wakes_at: float | None = None
    open: dict[EngineSequence, float] = field(default_factory=dict)
    """By request: when it came to the gateway."""

    @property
    def waiting(self) -> int:
        return len(self.engine.waiting) + len(self.engine.arriving)


class Scaler(Protocol):
    """Says how many pods there should be."""

    tick_seconds: float
    spares_busy_pods: bool
    """Whether it chooses who goes, as the gateway can: the least busy."""

    def size(self, fleet: Fleet) -> int: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    gpu_hours: float
    late_share: float
    """Of first tokens, by requests."""
    changes: int
    requests: int


class Fleet:
    """One run. What stands here without an underscore is what autoscalers may look at."""

    def __init__(self, config: EngineConfig, start_seconds: float, most: int, seed: int, replicas: int = 2) -> None:
        self.agenda = Agenda()
        self.most, self.start_seconds = most, start_seconds
        self._config, self._rng = config, np.random.default_rng([seed, 7])
        self.pods: list[Pod] = []
        self.held: deque[tuple[Ask, float]] = deque()
        self.arrived = self.finished = self.first_tokens = self.late = 0
        self.first_token_seconds = self.decode_seconds = 0.0
        """Of all requests so far: until their first token, and from there to their last."""
        self._gpu_seconds, self._changes, self._made = 0.0, 0, 0
        self._over = False
        for _ in range(replicas):
            self._make(started=True)

    @property
    def now(self) -> float:
        return self.agenda.now_seconds

    @property
    def staying(self) -> list[Pod]:
        return [pod for pod in self.pods if not pod.going]

    @property
    def ready(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.ready and not pod.going]

    def run(self, asks: Sequence[Ask], scaler: Scaler, until_seconds: float) -> Outcome:
        for ask in asks:
            self.agenda.at(ask.at_seconds, partial(self._arrive, ask))
        self.agenda.at(0.0, partial(self._tick, scaler, until_seconds))
        self.agenda.run()
        cost = self._gpu_seconds + sum(self.now - pod.asked_at for pod in self.pods)
        return Outcome(cost / 3600, self.late / max(1, self.first_tokens), self._changes, self.first_tokens)

    def _tick(self, scaler: Scaler, until_seconds: float) -> None:
        self._over = self.now >= until_seconds and not self.held
        if self._over:
            # What is left drains; nobody pays for an empty fleet after the load's end.
            for pod in self.staying:
                self._let_go(pod)
            return
        for pod in self.pods:
            self._settle(pod)
        present = len(self.staying)
        wanted = min(max(scaler.size(self), 1), self.most)
        self._changes += wanted != present
        for _ in range(wanted - present):
            self._make()
        for pod in self._leaving(scaler, present - wanted):
            self._let_go(pod)
        self.agenda.at(self.now + scaler.tick_seconds, partial(self._tick, scaler, until_seconds))

    def _leaving(self, scaler: Scaler, fewer: int) -> list[Pod]:
        def order(pod: Pod) -> tuple[bool, int, float]:
            return pod.ready, pod.in_flight if scaler.spares_busy_pods else 0, -pod.asked_at

        return sorted(self.staying, key=order)[: max(0, fewer)]

    def _make(self, *, started: bool = False) -> None:
        self._made += 1
        seconds = self.start_seconds * float(np.clip(self._rng.normal(1.0, _START_SPREAD), 0.5, 2.0))
        pod = Pod(self._made, self.now, self.now + seconds, LeapingEngine(self._config))
        self.pods.append(pod)
        if started:
            pod.ready, pod.ready_at = True, self.now
        else:
            self.agenda.at(pod.ready_at, partial(self._come, pod))

    def _come(self, pod: Pod) -> None:
        if pod not in self.pods:
            return
        pod.ready = True
        held, self.held = self.held, deque()
        for ask, came_at in held:
            self._send(ask, came_at)

    def _let_go(self, pod: Pod) -> None:
        pod.going = True
        self._end_if_idle(pod)

    def _end_if_idle(self, pod: Pod) -> None:
        if pod.going and not pod.open and pod in self.pods:
            self.pods.remove(pod)
            self._gpu_seconds += self.now - pod.asked_at

    def _arrive(self, ask: Ask) -> None:
        self.arrived += 1
        self._send(ask, self.now)

    def _send(self, ask: Ask, came_at: float) -> None:
        ready = self.ready
        if not ready:
            self.held.append((ask, came_at))
            return
        pod = min(ready, key=lambda one: one.in_flight)
        request = EngineRequest(prompt_tokens=ask.prompt_tokens, output_tokens=ask.output_tokens, block_hashes=())
        pod.open[pod.engine.submit(request, self.now)] = came_at
        pod.in_flight += 1
        self._wake(pod)

    def _wake(self, pod: Pod) -> None:
        at = pod.engine.next_event_time()
        if at is not None and at != pod.wakes_at:
            self.agenda.at(at, partial(self._advance, pod, at))
        pod.wakes_at = at

    def _advance(self, pod: Pod, at: float) -> None:
        if at == pod.wakes_at:
            pod.wakes_at = None
            self._settle(pod)
            self._end_if_idle(pod)

    def _settle(self, pod: Pod) -> None:
        for event in pod.engine.advance(self.now):
            if event.number == 1:
                self.first_tokens += 1
                seconds = event.at_seconds - pod.open[event.sequence]
                self.first_token_seconds += seconds
                self.late += seconds > LATE_SECONDS
            if event.finish_reason is not None:
                del pod.open[event.sequence]
                pod.in_flight -= 1
                self.finished += 1
                first_token_at = event.sequence.first_token_at
                self.decode_seconds += event.at_seconds - (first_token_at or event.at_seconds)
        self._wake(pod)
