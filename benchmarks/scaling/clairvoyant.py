"""What somebody would do who knows every arrival beforehand: pods are ready when they are needed, and go when not."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scaling.fleet import Fleet
    from benchmarks.scaling.loads import Ask

_WINDOW_SECONDS = 20.0
"""Over which arrivals are counted: about what a request takes."""


@dataclass(slots=True)
class Clairvoyant:
    """`per_pod`: requests a second that one pod is given."""

    asks: Sequence[Ask]
    per_pod: float
    tick_seconds: float = 5.0
    spares_busy_pods: bool = True

    def size(self, fleet: Fleet) -> int:
        # From now on, as a pod that goes cannot come back sooner, until one that is asked for now has come.
        moments = range(-10, int(1.2 * fleet.start_seconds + self.tick_seconds) + 1, 5)
        return math.ceil(max(self._rate(fleet.now + ahead) for ahead in moments) / self.per_pod)

    def _rate(self, begin: float) -> float:
        first = bisect_left(self.asks, begin, key=lambda ask: ask.at_seconds)
        after = bisect_left(self.asks, begin + _WINDOW_SECONDS, key=lambda ask: ask.at_seconds)
        return (after - first) / _WINDOW_SECONDS
