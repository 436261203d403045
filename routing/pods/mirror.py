"""What other replicas are probably doing at this moment: the same as this one.

    work seen on a pod = own + reported + k * own bookings of the last 0.3 s
    k = others' requests in flight / own, at most the number of the others

Reports are up to 0.3 s old. If everybody acted on them as they are, all replicas would send all of that time's requests
to the pods that looked idle in the last report, and again to others after the next: sharing would balance worse than
not sharing. But replicas with the same rules and the same numbers choose alike, so each one's own latest bookings tell
what the others' are. A sum that is guessed too high for a moment only spreads requests more evenly. Prefill work is not
mirrored: it would drive requests away from the pods that hold their prompts, which others' requests do not share.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from routing.pods.columns import Columns, FloatColumn, IntColumn

WINDOW_SECONDS = 0.3
"""As old as reports of other replicas may be."""


class Mirror:
    """Own bookings of the last moments, as often as there are others. Call `turn` some times per window."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._moments: deque[tuple[float, IntColumn]] = deque()
        self._others = 0.0

    def turn(self, now_seconds: float, others: float) -> None:
        """`others`: how many times the own traffic goes through other replicas."""
        moments = self._moments
        self._others = others
        if not others or not self._fits():
            moments.clear()
        if others:
            moments.append((now_seconds, self._columns.requests_total.copy()))
        while len(moments) > 1 and now_seconds - moments[1][0] >= WINDOW_SECONDS:
            moments.popleft()

    def requests(self, rows: IntColumn) -> FloatColumn:
        """Requests per pod."""
        if not self._fits():
            return np.zeros(len(rows))
        grown = self._columns.requests_total[rows] - self._moments[0][1][rows]
        # The total of a row that has changed hands begins anew.
        mirrored: FloatColumn = self._others * np.maximum(grown, 0)
        return mirrored

    def requests_of(self, row: int) -> float:
        """`requests` of one row."""
        if not self._fits():
            return 0.0
        grown = self._columns.cells.requests_total[row] - int(self._moments[0][1][row])
        return self._others * max(grown, 0)

    def _fits(self) -> bool:
        # The table may have grown since the last turn.
        return bool(self._moments) and len(self._moments[0][1]) == self._columns.capacity
