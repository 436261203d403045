"""What a size that follows the load falls short of while pods start: the reserve that would have been enough.

    shortfall(t) = largest need from t to t + start-up time - need at t         reserve = quantile of it over 30 min

A load that bursts again and again is met by pods that are there, and one that is steady or slow keeps none: both are
learned, and the quantile says how often a burst may find too few. Shortfalls are weighed by time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MEMORY_SECONDS = 1800.0
_EVERY_SECONDS = 5.0
_MOST = int(MEMORY_SECONDS / _EVERY_SECONDS) + 1


@dataclass(slots=True)
class Shortfall:
    """Needs are in pods, and no whole numbers."""

    _needs: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST))

    def observe(self, at_seconds: float, need: float) -> None:
        """More often than every five seconds the largest of them counts."""
        if self._needs and at_seconds - self._needs[-1][0] < _EVERY_SECONDS:
            at, last = self._needs.pop()
            self._needs.append((at, max(last, need)))
            return
        self._needs.append((at_seconds, need))
        while self._needs and self._needs[0][0] <= at_seconds - MEMORY_SECONDS:
            self._needs.popleft()

    def reserve(self, start_seconds: float, quantile: float) -> float:
        """0 while less is known than two start-up times."""
        if not self._needs or self._needs[-1][0] - self._needs[0][0] < 2 * start_seconds:
            return 0.0
        shortfalls = sorted(self._shortfalls(start_seconds))
        return shortfalls[min(int(quantile * len(shortfalls)), len(shortfalls) - 1)]

    def _shortfalls(self, start_seconds: float) -> list[float]:
        """Backwards with a deque that keeps the largest need of the time ahead."""
        ahead: deque[tuple[float, float]] = deque()
        found = []
        for at, need in reversed(self._needs):
            while ahead and ahead[-1][1] <= need:
                ahead.pop()
            ahead.append((at, need))
            while ahead[0][0] > at + start_seconds:
                ahead.popleft()
            found.append(ahead[0][1] - need)
        return found
