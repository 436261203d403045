"""Quantiles over all requests, also those that failed, and those that were cut short by the one who measures.

A failed request counts as infinitely slow: p99 is infinite when more than 1 % have failed. A request that was cut short
(Ctrl-C) is known to be slower than what it had waited; leaving it out would leave out the slow ones. Kaplan and Meier's
estimator takes both: at each time t at which d of the n requests that had waited as long were answered, the share that
is still unanswered falls by the factor 1 - d / n. With no request cut short this is the usual distribution.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDING = 1e-9


class Distribution:
    """`known` values; `failed`: so many more that are infinite; `censored`: values that are only known to be larger."""

    def __init__(self, known: Sequence[float], failed: int = 0, censored: Sequence[float] = ()) -> None:
        self.count = len(known) + failed + len(censored)
        self.values: list[float] = []
        self.shares: list[float] = []
        """Of all requests, how many are at most the value beside it."""
        self._estimate(known, censored)

    def quantile(self, share: float) -> float:
        """The least value that `share` of all requests do not exceed; infinite when fewer have one, NaN of nothing."""
        if not self.count:
            return math.nan
        for value, reached in zip(self.values, self.shares, strict=True):
            if reached >= share - _ROUNDING:
                return value
        return math.inf

    def curve(self, points: int) -> tuple[list[float], list[float]]:
        """Values and shares, thinned; the last share is what was answered at all."""
        step = max(1, math.ceil(len(self.values) / max(points - 1, 1)))
        kept = [*range(0, len(self.values), step)]
        if self.values and kept[-1] != len(self.values) - 1:
            kept.append(len(self.values) - 1)
        return [self.values[i] for i in kept], [self.shares[i] for i in kept]

    def _estimate(self, known: Sequence[float], censored: Sequence[float]) -> None:
        # Whoever left at the very moment of an answer had waited as long: answers come first.
        events = sorted([(value, False) for value in known] + [(value, True) for value in censored])
        waiting, unanswered = self.count, 1.0
        for (value, cut), group in groupby(events):
            size = sum(1 for _ in group)
            if not cut:
                unanswered *= 1 - size / waiting
                self.values.append(value)
                self.shares.append(1 - unanswered)
            waiting -= size


class Sketch:
    """Quantiles of any number of values, to 2 %: counts by logarithm, of seconds from 10 us to 3 hours."""

    _LEAST, _GROWTH, _SIZE = 1e-5, 1.02, 1056

    def __init__(self) -> None:
        self._counts = [0] * self._SIZE
        self.count = 0

    def add(self, seconds: float) -> None:
        """One value."""
        ratio = max(seconds, self._LEAST) / self._LEAST
        self._counts[min(self._SIZE - 1, int(math.log(ratio) / math.log(self._GROWTH)))] += 1
        self.count += 1

    def quantile(self, share: float, failed: int = 0) -> float:
        """Infinite and NaN as above."""
        if not self.count + failed:
            return math.nan
        left = share * (self.count + failed) - _ROUNDING
        for index, count in enumerate(self._counts):
            left -= count
            if left <= 0 and count:
                return float(self._LEAST * self._GROWTH ** (index + 0.5))
        return math.inf
