"""The numbers of all pods as numpy columns: one row a pod, grown by doubling.

Rows are recycled, so a row number alone never identifies a pod: `incarnation` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatColumn = NDArray[np.float64]
IntColumn = NDArray[np.int64]

_INTEGER_FIELDS = ("incarnation", "inflight_requests", "requests_total")
_FLOAT_FIELDS = (
    "running_requests",
    "waiting_requests",
    "kv_usage_ratio",
    "prefix_hit_tokens",
    "prefix_query_tokens",
    "polled_at_seconds",
    "ttft_seconds",
    "tpot_seconds",
)


class Columns:
    """Integer columns start at 0, float columns at NaN: nothing is known before it is measured."""

    incarnation: IntColumn
    inflight_requests: IntColumn
    requests_total: IntColumn
    running_requests: FloatColumn
    waiting_requests: FloatColumn
    kv_usage_ratio: FloatColumn
    prefix_hit_tokens: FloatColumn
    prefix_query_tokens: FloatColumn
    polled_at_seconds: FloatColumn
    ttft_seconds: FloatColumn
    tpot_seconds: FloatColumn

    def __init__(self, capacity: int = 16) -> None:
        self.capacity = capacity
        for name in _INTEGER_FIELDS:
            setattr(self, name, np.zeros(capacity, dtype=np.int64))
        for name in _FLOAT_FIELDS:
            setattr(self, name, np.full(capacity, np.nan))

    def grow(self) -> None:
        """Doubles the capacity; row numbers stay valid."""
        for name in (*_INTEGER_FIELDS, *_FLOAT_FIELDS):
            column: NDArray[Any] = getattr(self, name)
            empty = np.zeros_like(column) if name in _INTEGER_FIELDS else np.full_like(column, np.nan)
            setattr(self, name, np.concatenate([column, empty]))
        self.capacity *= 2

    def reset(self, row: int, incarnation: int) -> None:
        """Gives the row to a new incarnation: empty books, unknown metrics."""
        for name in _INTEGER_FIELDS:
            getattr(self, name)[row] = 0
        for name in _FLOAT_FIELDS:
            getattr(self, name)[row] = np.nan
        self.incarnation[row] = incarnation
