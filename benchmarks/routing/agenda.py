"""Virtual time: calls that wait for their moment, on one heap. Time stands still while a call runs."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Calls of one moment run in the order in which they were written down."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def clock(self) -> float:
        """Seconds since the beginning."""
        return self.now_seconds

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Runs a call at a time, or now if that has passed."""
        heapq.heappush(self._entries, (max(seconds, self.now_seconds), next(self._numbers), call))

    def run(self) -> None:
        """Runs until nothing is left to do."""
        while self._entries:
            self.now_seconds, _, call = heapq.heappop(self._entries)
            call()
