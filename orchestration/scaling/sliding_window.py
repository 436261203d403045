"""Values of the last so many seconds: their mean, largest and smallest."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_VALUES = 4096
"""An hour at one value a second, with room: the longest window that anything asks for is 3,600 s."""


class SlidingWindow:
    """Values with their times, as old as `seconds` at most; times do not go back."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._values: deque[tuple[float, float]] = deque(maxlen=_MOST_VALUES)

    def add(self, at_seconds: float, value: float) -> None:
        self._values.append((at_seconds, value))
        self._forget(at_seconds)

    def mean(self, now_seconds: float, of_last_seconds: float | None = None) -> float | None:
        """Over the whole window or its last part; None when there is nothing in it."""
        self._forget(now_seconds)
        since = now_seconds - (self.seconds if of_last_seconds is None else of_last_seconds)
        values = [value for at, value in self._values if at > since]
        return sum(values) / len(values) if values else None

    def largest(self, now_seconds: float) -> float | None:
        self._forget(now_seconds)
        return max((value for _, value in self._values), default=None)

    def smallest(self, now_seconds: float) -> float | None:
        self._forget(now_seconds)
        return min((value for _, value in self._values), default=None)

    def since(self, at_seconds: float) -> Iterator[tuple[float, float]]:
        """What was added at or after a time, the newest first."""
        for at, value in reversed(self._values):
            if at < at_seconds:
                return
            yield at, value

    def _forget(self, now_seconds: float) -> None:
        while self._values and self._values[0][0] <= now_seconds - self.seconds:
            self._values.popleft()
