"""What the gateway itself knows of each pod's work: in-flight requests and tokens, prefill backlog, busy time.

    backlog(t) = max(0, backlog(t0) - prefill rate * (t - t0)), tokens

The prefill work of a request is counted from its booking and leaves as the engine is expected to compute it, in order
of arrival; nobody tells the gateway of first tokens while they happen. What is left of it leaves with the lease.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from routing.columns import Columns
from routing.windows import RowWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.columns import FloatColumn, IntColumn

# An 8B model on one H100 computes about 8,000 prompt tokens a second; only the order of magnitude matters, and only
# until the pod's own rate is known.
DEFAULT_PREFILL_TOKENS_PER_SECOND = 8000.0


class Books:
    """Columns and windows that bookings change. Rows are the pod table's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.columns = Columns()
        self.prompt_tokens = RowWindow(self.columns.capacity)
        self.output_tokens = RowWindow(self.columns.capacity)
        self.busy_seconds = RowWindow(self.columns.capacity)

    def grow(self) -> None:
        """Doubles the number of rows."""
        self.columns.grow()
        for window in self._windows():
            window.grow(self.columns.capacity)

    def reset(self, row: int, incarnation: int) -> None:
        """Gives the row to a new pod."""
        self.columns.reset(row, incarnation)
        for window in self._windows():
            window.reset(row)

    def add_prefill(self, row: int, tokens: float) -> float:
        """Queues prefill work; returns the time at which it is expected to be done."""
        now, rate = self.clock(), self._rate(row)
        backlog = self._backlog(row, now, rate) + tokens
        self._set_backlog(row, backlog, now)
        return now + backlog / rate

    def drop_prefill(self, row: int, tokens: float, done_at_seconds: float) -> None:
        """Takes back what is left of prefill work that will not be done."""
        now = self.clock()
        if now < done_at_seconds:
            rate = self._rate(row)
            left = min(tokens, (done_at_seconds - now) * rate)
            self._set_backlog(row, max(0.0, self._backlog(row, now, rate) - left), now)

    def backlog_tokens(self, rows: IntColumn, rate: FloatColumn) -> FloatColumn:
        """Prefill work that is queued or under way now, at the given tokens per second."""
        columns = self.columns
        elapsed = self.clock() - columns.prefill_backlog_at_seconds[rows]
        return np.maximum(columns.prefill_backlog_tokens[rows] - elapsed * rate, 0.0)

    def prefill_rate(self, rows: IntColumn) -> FloatColumn:
        """Prompt tokens per second, measured where possible."""
        rate = self.columns.prefill_tokens_per_second[rows]
        rate[np.isnan(rate)] = DEFAULT_PREFILL_TOKENS_PER_SECOND
        return rate

    def busy_ratio(self, rows: IntColumn) -> FloatColumn:
        """Share of the last minute in which each pod had at least one request."""
        now = self.clock()
        since = self.columns.busy_since_seconds[rows]
        running = np.where(self.columns.inflight_requests[rows] > 0, now - since, 0.0)
        window = self.busy_seconds.window_seconds
        return np.minimum(self.busy_seconds.totals(rows, now) + running, window) / window

    def _rate(self, row: int) -> float:
        rate = float(self.columns.prefill_tokens_per_second[row])
        return DEFAULT_PREFILL_TOKENS_PER_SECOND if math.isnan(rate) else rate

    def _backlog(self, row: int, now: float, rate: float) -> float:
        elapsed = now - float(self.columns.prefill_backlog_at_seconds[row])
        return max(0.0, float(self.columns.prefill_backlog_tokens[row]) - elapsed * rate)

    def _set_backlog(self, row: int, tokens: float, now: float) -> None:
        self.columns.prefill_backlog_tokens[row] = tokens
        self.columns.prefill_backlog_at_seconds[row] = now

    def _windows(self) -> tuple[RowWindow, ...]:
        return self.prompt_tokens, self.output_tokens, self.busy_seconds
