"""AIBrix's APA: proportional, with a tolerance to either side and a bound on each step.

    r = mean over the window of the total / ready pods / target
    r > 1 + up_tolerance:    min(ceil(ready * r), ceil(max_up_rate * ready))
    r < 1 - down_tolerance:  max(ceil(ready * r), floor(ready / max_down_rate))          else: nothing changes

Proportions are those of ready pods: usage is what they tell, and a pod that is still starting was asked for already.
So a size that was asked for is never asked for again, and load that waits for pods to start does not double them each
time. Source: AIBrix's documentation of APA and `reference/orchestration.md` 2.5. Degrades to the present size when no
pod told anything.
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
class ApaOptions:
    """Tolerances are shares of the target, rates are factors a step."""

    up_tolerance: float = 0.1
    down_tolerance: float = 0.2
    max_up_rate: float = 2.0
    max_down_rate: float = 2.0
    window_seconds: float = 60.0


@dataclass(slots=True)
class Apa:
    target: float
    options: ApaOptions = field(default_factory=ApaOptions)
    _totals: SlidingWindow = field(init=False)

    def __post_init__(self) -> None:
        self._totals = SlidingWindow(self.options.window_seconds)

    def recommend(self, seen: Observation) -> Recommendation:
        total = seen.total(self.target)
        if total is None:
            return Recommendation(seen.replicas, Why.NO_METRICS)
        self._totals.add(seen.at_seconds, total)
        mean = self._totals.mean(seen.at_seconds)
        assert mean is not None, "a value was just added"
        return self._sized(seen.replicas, seen.ready, mean / seen.ready / self.target)

    def _sized(self, replicas: int, ready: int, ratio: float) -> Recommendation:
        options = self.options
        proportional = math.ceil(round(ready * ratio, 9))
        if ratio - 1 > options.up_tolerance + 1e-9:
            wanted = min(proportional, math.ceil(options.max_up_rate * ready))
            return Recommendation(max(wanted, replicas), Why.ABOVE)
        if 1 - ratio > options.down_tolerance + 1e-9:
            wanted = max(proportional, math.floor(ready / options.max_down_rate))
            return Recommendation(min(wanted, replicas), Why.BELOW)
        return Recommendation(replicas, Why.WITHIN_TOLERANCE)
