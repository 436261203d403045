"""How fast requests come, now and a start-up time ahead, from a count that only grows.

    steady  mean of the last 60 s; sudden  mean of the last 10 s
    change  sudden and steady differ by more than 3 deviations of a Poisson count: what was before is forgotten
    slope   least squares over the last 120 s, less one deviation of its own, so that noise is no trend
    growth  1 + slope * (seconds ahead + half a minute, which is how old the steady mean is) / steady, from 1 to 1.5

So a jump is believed within seconds and not taken for a trend, and a slow rise is met ahead. Falling rates are not
followed ahead.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

STEADY_SECONDS = 60.0
SUDDEN_SECONDS = 10.0
TREND_SECONDS = 120.0
_DEVIATIONS = 3.0
"""One in a thousand looks at a steady load takes it for a sudden one."""
_MOST_AHEAD = 1.5
"""How far a slope is believed: twice would let the noise of a burst buy a fleet."""
_FEWEST_FOR_TREND = 8
"""Looks: 40 s of those that are made every 5 s."""


@dataclass(slots=True)
class ArrivalRate:
    """Times do not go back; totals do not shrink."""

    _totals: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4096))

    def observe(self, at_seconds: float, total: float) -> None:
        self._totals.append((at_seconds, total))
        self._forget(at_seconds - TREND_SECONDS)
        expected = self._mean(STEADY_SECONDS) * SUDDEN_SECONDS
        if abs(self._mean(SUDDEN_SECONDS) * SUDDEN_SECONDS - expected) > _DEVIATIONS * math.sqrt(expected + 1):
            self._forget(at_seconds - SUDDEN_SECONDS)

    def per_second(self) -> float:
        return self._mean(STEADY_SECONDS)

    def ahead(self, seconds: float) -> float:
        return self.per_second() * self.growth(seconds)

    def growth(self, seconds: float) -> float:
        """The factor by which the rate will have grown in so many seconds, from 1 to 1.5."""
        now = self.per_second()
        return min(max(1 + self._slope() * (seconds + STEADY_SECONDS / 2) / now, 1.0), _MOST_AHEAD) if now else 1.0

    def _forget(self, before_seconds: float) -> None:
        """But for the last look before it, from which the first one after it is counted."""
        while len(self._totals) > 2 and self._totals[1][0] <= before_seconds:
            self._totals.popleft()

    def _mean(self, seconds: float) -> float:
        if len(self._totals) < 2:
            return 0.0
        now, total = self._totals[-1]
        at, before = next((at, count) for at, count in self._totals if at > now - seconds - 1e-9)
        if at == now:
            at, before = self._totals[-2]
        return (total - before) / (now - at) if now > at else 0.0

    def _slope(self) -> float:
        """Of the rate, requests/s in a second; 0 where it could be chance."""
        points = list(self._totals)
        rates = [
            ((at + then) / 2, (count - before) / (at - then))
            for (then, before), (at, count) in pairwise(points)
            if at > then
        ]
        if len(rates) < _FEWEST_FOR_TREND:
            return 0.0
        middle = sum(at for at, _ in rates) / len(rates)
        mean = sum(rate for _, rate in rates) / len(rates)
        spread = sum((at - middle) ** 2 for at, _ in rates)
        slope = sum((at - middle) * (rate - mean) for at, rate in rates) / spread
        # A Poisson count's deviation: that of one rate is sqrt(rate / seconds between looks).
        seconds = (points[-1][0] - points[0][0]) / len(rates)
        deviation = math.sqrt(max(mean, 1e-9) / seconds / spread)
        return math.copysign(max(0.0, abs(slope) - deviation), slope)
