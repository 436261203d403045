"""Knative's pod autoscaler: totals over two windows, and a panic in which it never shrinks.

    stable = ceil(mean total over the stable window / target)      panic = the same over the short window
    both within [floor(ready / max_down_rate), ceil(max_up_rate * ready)], ready = max(1, ready pods)
    panic begins, or goes on, when unclamped panic / ready >= panic_threshold; it ends a stable window after that
    in panic: max(stable, panic), and never less than the most of this panic; then the most of the last scale_down_delay

Source: Knative serving's documentation and `pkg/autoscaler/scaling/autoscaler.go`. Totals, not means: a ratio such as
KV cache usage adds up over pods as concurrency does, so four pods at 0.9 with target 0.5 want eight. Like Knative it
starts in panic when there is more than one pod, so that a controller that was restarted shrinks nothing. Degrades to
the present size when no pod told anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.samples import Recommendation, Why
from orchestration.scaling.sliding_window import SlidingWindow

if TYPE_CHECKING:
    from orchestration.scaling.samples import Observation


@dataclass(frozen=True, slots=True)
class KpaOptions:
    """Seconds, factors a step, and pods."""

    stable_window_seconds: float = 60.0
    panic_window_seconds: float = 10.0
    panic_threshold: float = 2.0
    max_up_rate: float = 2.0
    max_down_rate: float = 2.0
    activation_scale: int = 1
    scale_down_delay_seconds: float = 0.0
    spare: float = 0.0
    """Load that should find room at any time, in the metric's unit: AIBrix's `target-burst-capacity`."""


@dataclass(slots=True)
class Kpa:
    target: float
    options: KpaOptions = field(default_factory=KpaOptions)
    _totals: SlidingWindow = field(init=False)
    _wanted: SlidingWindow = field(init=False)
    _panic_since: float | None = field(init=False, default=None)
    _most_in_panic: int = field(init=False, default=0)
    _started: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._totals = SlidingWindow(self.options.stable_window_seconds)
        self._wanted = SlidingWindow(self.options.scale_down_delay_seconds)

    def recommend(self, seen: Observation) -> Recommendation:
        self._start(seen)
        total = 0.0 if seen.replicas == 0 else seen.total(self.target)
        if total is None:
            return Recommendation(seen.replicas, Why.NO_METRICS)
        now = seen.at_seconds
        self._totals.add(now, total)
        ready = max(1, seen.ready)
        stable = self._pods(self._totals.mean(now))
        panic = self._pods(self._totals.mean(now, self.options.panic_window_seconds))
        self._enter_or_leave_panic(now, panic / ready)
        wanted = self._in_panic(ready, stable, panic) if self._panic_since is not None else self._stable(ready, stable)
        return self._delayed(now, seen.replicas, wanted)

    def _start(self, seen: Observation) -> None:
        if not self._started:
            self._started = True
            if seen.ready > 1:
                self._panic_since, self._most_in_panic = seen.at_seconds, seen.ready

    def _pods(self, mean: float | None) -> int:
        assert mean is not None, "a value was just added"
        load = mean + self.options.spare if mean else 0.0
        return math.ceil(round(load / self.target, 9))

    def _enter_or_leave_panic(self, now: float, over: float) -> None:
        if over >= self.options.panic_threshold:
            self._panic_since = now
        elif self._panic_since is not None and self._panic_since + self.options.stable_window_seconds < now:
            self._panic_since, self._most_in_panic = None, 0

    def _clamped(self, ready: int, pods: int) -> int:
        options = self.options
        within = min(max(pods, math.floor(ready / options.max_down_rate)), math.ceil(options.max_up_rate * ready))
        return options.activation_scale if 0 < within < options.activation_scale else within

    def _in_panic(self, ready: int, stable: int, panic: int) -> Recommendation:
        wanted = max(self._clamped(ready, stable), self._clamped(ready, panic))
        self._most_in_panic = max(self._most_in_panic, wanted)
        return Recommendation(self._most_in_panic, Why.PANIC)

    def _stable(self, ready: int, stable: int) -> Recommendation:
        return Recommendation(self._clamped(ready, stable), "")

    def _delayed(self, now: float, replicas: int, wanted: Recommendation) -> Recommendation:
        why = wanted.why or (Why.ABOVE if wanted.replicas > replicas else Why.BELOW)
        if not self.options.scale_down_delay_seconds:
            return Recommendation(wanted.replicas, why)
        self._wanted.add(now, wanted.replicas)
        most = int(self._wanted.largest(now) or 0)
        return Recommendation(most, Why.DELAYED if most > wanted.replicas else why)
