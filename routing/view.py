"""What a policy sees: the ready pods of one model, as columns of one moment.

Fancy indexing copies, so a view's columns do not change under a policy. Polled numbers older than the table's
`stale_after_seconds` read as NaN: unknown, never idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from routing.columns import Columns, FloatColumn, IntColumn


class PodView:
    """Candidates of one request. Position i of every column is the pod of `rows[i]`."""

    __slots__ = ("_columns", "_now_seconds", "_stale_after_seconds", "rows")

    def __init__(self, columns: Columns, rows: IntColumn, now_seconds: float, stale_after_seconds: float) -> None:
        self._columns = columns
        self._now_seconds = now_seconds
        self._stale_after_seconds = stale_after_seconds
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inflight_requests(self) -> FloatColumn:
        """Requests that this gateway has open on each pod."""
        return self._columns.inflight_requests[self.rows].astype(np.float64)

    @property
    def running_requests(self) -> FloatColumn:
        """Requests in the engine's batch at the last poll."""
        return self._fresh(self._columns.running_requests)

    @property
    def waiting_requests(self) -> FloatColumn:
        """Requests in the engine's queue at the last poll."""
        return self._fresh(self._columns.waiting_requests)

    @property
    def kv_usage_ratio(self) -> FloatColumn:
        """Share of the KV cache in use at the last poll, 0 to 1."""
        return self._fresh(self._columns.kv_usage_ratio)

    @property
    def age_seconds(self) -> FloatColumn:
        """Time since the last successful poll; NaN when there was none."""
        return self._now_seconds - self._columns.polled_at_seconds[self.rows]

    def _fresh(self, column: FloatColumn) -> FloatColumn:
        values = column[self.rows]
        values[~(self.age_seconds <= self._stale_after_seconds)] = np.nan
        return values
