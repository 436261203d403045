"""How fast a size may change: `behavior` of `autoscaling/v2`, for every strategy.

    stabilisation  down: the largest recommendation of the window (300 s); up: the smallest of its window (0 s)
    policies       by how much a size may change within a period; `Max` takes the most lenient, `Min` the strictest

Source: Kubernetes' documentation of configurable scaling behaviour. The size at the start of a period is the present
one less what was added, plus what was taken away, within it. A controller that was restarted remembers the present
size as a recommendation, and so shrinks nothing before a window has passed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from orchestration.scaling.samples import Recommendation, Why
from orchestration.scaling.sliding_window import SlidingWindow

_MOST_CHANGES = 4096
"""More changes than a period of 1,800 s can hold at one a second."""


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `value` pods, or percent of the pods, within `period_seconds`."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_seconds: float


@dataclass(frozen=True, slots=True)
class Direction:
    stabilization_seconds: float
    policies: tuple[RatePolicy, ...] = ()
    """None given: any change."""
    select: Literal["Max", "Min", "Disabled"] = "Max"


@dataclass(frozen=True, slots=True)
class Behavior:
    up: Direction = Direction(0.0, (RatePolicy("Percent", 100, 15), RatePolicy("Pods", 4, 15)))
    down: Direction = Direction(300.0, (RatePolicy("Percent", 100, 15),))


@dataclass(slots=True)
class Pacing:
    """Remembers recommendations and changes, and says what may be done now."""

    behavior: Behavior
    _larger: SlidingWindow = field(init=False)
    _smaller: SlidingWindow = field(init=False)
    _changes: deque[tuple[float, int]] = field(init=False, default_factory=lambda: deque(maxlen=_MOST_CHANGES))
    _started: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._larger = SlidingWindow(self.behavior.down.stabilization_seconds)
        self._smaller = SlidingWindow(self.behavior.up.stabilization_seconds)

    def paced(self, now: float, replicas: int, wanted: Recommendation) -> Recommendation:
        """What of a recommendation may be done now; `changed` is told when it was done."""
        if not self._started:
            self._started = True
            self._larger.add(now, replicas)
            self._smaller.add(now, replicas)
        self._larger.add(now, wanted.replicas)
        self._smaller.add(now, wanted.replicas)
        steady = self._stabilised(now, replicas, wanted)
        limited = min(max(steady.replicas, self._lowest(now, replicas)), self._highest(now, replicas))
        return steady if limited == steady.replicas else Recommendation(limited, Why.LIMITED)

    def changed(self, now: float, before: int, after: int) -> None:
        self._changes.append((now, after - before))

    def _stabilised(self, now: float, replicas: int, wanted: Recommendation) -> Recommendation:
        # A window of 0 s holds nothing, not even what was just added: the wish stands alone.
        most, least = self._larger.largest(now), self._smaller.smallest(now)
        highest = wanted.replicas if most is None else int(most)
        lowest = wanted.replicas if least is None else int(least)
        steady = min(max(replicas, lowest), highest)
        return wanted if steady == wanted.replicas else Recommendation(steady, Why.DELAYED)

    def _at_start(self, now: float, replicas: int, period_seconds: float) -> int:
        return replicas - sum(change for at, change in self._changes if at > now - period_seconds)

    def _highest(self, now: float, replicas: int) -> int:
        direction = self.behavior.up
        if direction.select == "Disabled":
            return replicas
        limits = [self._limit(now, replicas, policy, 1) for policy in direction.policies]
        chosen = max if direction.select == "Max" else min
        return max(replicas, chosen(limits)) if limits else 1 << 31

    def _lowest(self, now: float, replicas: int) -> int:
        direction = self.behavior.down
        if direction.select == "Disabled":
            return replicas
        limits = [self._limit(now, replicas, policy, -1) for policy in direction.policies]
        chosen = min if direction.select == "Max" else max
        return min(replicas, chosen(limits)) if limits else 0

    def _limit(self, now: float, replicas: int, policy: RatePolicy, sign: int) -> int:
        start = self._at_start(now, replicas, policy.period_seconds)
        if policy.kind == "Pods":
            return max(0, start + sign * policy.value)
        exact = round(start * (1 + sign * policy.value / 100), 9)
        return math.ceil(exact) if sign > 0 else math.floor(exact)
