"""Sums over the last minute, one per pod, in buckets that all pods share.

The window is cut into buckets of `window / buckets` seconds. What falls out of the window falls out a bucket at a time,
so a sum covers between `window - bucket` and `window` seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from routing.pods.columns import FloatColumn, IntColumn

WINDOW_SECONDS = 60.0
_BUCKETS = 12


class RowWindow:
    """A sliding sum for every row. Times must not go backwards."""

    def __init__(self, rows: int, window_seconds: float = WINDOW_SECONDS) -> None:
        self.window_seconds = window_seconds
        self._bucket_seconds = window_seconds / _BUCKETS
        self._bucket = 0
        self._bucket_ends_at_seconds = self._bucket_seconds
        self._show(np.zeros((rows, _BUCKETS)))

    def grow(self, rows: int) -> None:
        """Makes room for rows up to `rows`."""
        missing = rows - len(self._values)
        self._show(np.concatenate([self._values, np.zeros((missing, _BUCKETS))]))

    def reset(self, row: int) -> None:
        """Forgets what a row's former pod did."""
        self._values[row] = 0.0

    def add(self, row: int, value: float, now: float) -> None:
        """Counts `value` at `now`."""
        if now >= self._bucket_ends_at_seconds:
            self._turn(now)
        self._cells[row * _BUCKETS + self._bucket % _BUCKETS] += value

    def add_interval(self, row: int, start: float, end: float) -> None:
        """Counts the seconds from `start` to `end` (now), each in its own bucket."""
        self._turn(end)
        oldest = (self._bucket - _BUCKETS + 1) * self._bucket_seconds
        start = max(start, oldest)
        while start < end:
            bucket = int(start / self._bucket_seconds)
            until = min(end, (bucket + 1) * self._bucket_seconds)
            if until <= start:  # float rounding at a bucket's edge
                bucket, until = bucket + 1, min(end, (bucket + 2) * self._bucket_seconds)
            self._cells[row * _BUCKETS + bucket % _BUCKETS] += until - start
            start = until

    def totals(self, rows: IntColumn, now: float) -> FloatColumn:
        """The sums of the given rows."""
        self._turn(now)
        totals: FloatColumn = self._values[rows].sum(axis=1)
        return totals

    def _turn(self, now: float) -> None:
        bucket = int(now / self._bucket_seconds)
        if bucket <= self._bucket:
            return
        if bucket - self._bucket >= _BUCKETS:
            self._values[:] = 0.0
        else:
            for passed in range(self._bucket + 1, bucket + 1):
                self._values[:, passed % _BUCKETS] = 0.0
        self._bucket = bucket
        self._bucket_ends_at_seconds = (bucket + 1) * self._bucket_seconds

    def _show(self, values: NDArray[np.float64]) -> None:
        self._values = values
        # The same memory, a number at a time (see `routing.pods.cells`).
        self._cells: memoryview[float] = values.reshape(-1).data  # type: ignore[assignment] # of floats
