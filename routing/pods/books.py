"""What the gateway itself knows of each pod's work: in-flight requests and tokens, prefill backlog, busy time.

    backlog(t) = max(0, backlog(t0) - prefill rate * (t - t0)), tokens

The prefill work of a request is counted from its booking and leaves as the engine is expected to compute it, in order
of arrival; nobody tells the gateway of first tokens while they happen. What is left of it leaves with the lease. First
tokens that are told afterwards set rate and backlog right (see `routing.pods.prefill_pace`).
A pod has one queue: what other replicas book joins it (see `routing.pods.elsewhere`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from routing.pods.columns import DEFAULT_PREFILL_TOKENS_PER_SECOND, Columns
from routing.pods.mirror import Mirror
from routing.pods.prefill_pace import Place, PrefillPace
from routing.pods.row_windows import RowWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routing.pods.columns import FloatColumn, IntColumn

# What others have booked in 0.2 s is read after up to 0.1 s more.
NEWS_AGE_SECONDS = 0.2


class Books:
    """Columns and windows that bookings change. Rows are the pod table's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.columns = Columns()
        self.cells = self.columns.cells
        self.has_elsewhere = False
        """Whether other replicas have work anywhere; False spares every request the look."""
        self.mirror = Mirror(self.columns)
        self.pace = PrefillPace(self)
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

    def add_prefill(self, row: int, tokens: float, now: float) -> Place:
        """Queues prefill work."""
        cells, rate = self.cells, self.rate_of(row)
        cells.prefill_backlog_tokens[row] = backlog = self.backlog_of(row, now, rate) + tokens
        cells.prefill_backlog_at_seconds[row] = now
        cells.prefill_booked_tokens[row] += tokens
        cells.prefill_queued_tokens[row] = position = cells.prefill_queued_tokens[row] + tokens
        return Place(now, backlog, position, cells.prefill_corrected_tokens[row], now + backlog / rate)

    def drop_prefill(self, row: int, tokens: float, place: Place, now: float) -> None:
        """Takes back what is left of prefill work that will not be done: it was to be done later than now."""
        rate = self.rate_of(row)
        left = min(tokens, (place.done_at_seconds - now) * rate)
        self.set_backlog(row, max(0.0, self.backlog_of(row, now, rate) - left), now)
        self.cells.prefill_booked_tokens[row] -= left
        self.cells.prefill_queued_tokens[row] -= left

    def booked_elsewhere(self, row: int, requests: int, prefill_tokens: float) -> None:
        """Another replica has booked work on the row's pod a moment ago, or, below zero, taken prefill work back."""
        cells, now, rate = self.cells, self.clock(), self.rate_of(row)
        cells.booked_requests_since_poll[row] += requests
        cells.booked_tokens_since_poll[row] += max(0.0, prefill_tokens)
        cells.prefill_queued_tokens[row] += prefill_tokens
        # Booked as of then: a pod that had nothing else to do has been computing it since.
        then = max(now - NEWS_AGE_SECONDS, cells.prefill_backlog_at_seconds[row])
        self.set_backlog(row, max(0.0, self.backlog_of(row, then, rate) + prefill_tokens), then)

    def set_elsewhere(self, rows: Sequence[int], work: Sequence[tuple[float, float, float]]) -> None:
        """What others have in flight: requests, prompt tokens, output tokens; sums where a row stands repeatedly."""
        columns = self.columns
        sums = np.zeros((columns.capacity, 3))
        if rows:
            np.add.at(sums, list(rows), np.array(work))
        columns.inflight_requests_elsewhere[:] = sums[:, 0]
        columns.inflight_prompt_tokens_elsewhere[:] = sums[:, 1]
        columns.inflight_output_tokens_elsewhere[:] = sums[:, 2]

    def rate_of(self, row: int) -> float:
        """`prefill_rate` of one row."""
        rate = self.cells.prefill_tokens_per_second[row]
        return rate if rate == rate else DEFAULT_PREFILL_TOKENS_PER_SECOND

    def backlog_of(self, row: int, now: float, rate: float) -> float:
        """`backlog_tokens` of one row."""
        cells = self.cells
        backlog = cells.prefill_backlog_tokens[row] - (now - cells.prefill_backlog_at_seconds[row]) * rate
        return backlog if backlog > 0.0 else 0.0  # noqa: FURB136 - max() takes four times as long

    def requests_of(self, row: int) -> float:
        """`inflight_requests` of one row."""
        own = float(self.cells.inflight_requests[row])
        return own + self.cells.inflight_requests_elsewhere[row] if self.has_elsewhere else own

    def backlog_tokens(self, rows: IntColumn, rate: FloatColumn) -> FloatColumn:
        """Prefill work that is queued or under way now, at the given tokens per second."""
        columns = self.columns
        elapsed = self.clock() - columns.prefill_backlog_at_seconds[rows]
        return np.maximum(columns.prefill_backlog_tokens[rows] - elapsed * rate, 0.0)

    def inflight_requests(self, rows: IntColumn) -> FloatColumn:
        """Own requests, and those that others have told of."""
        own = self.columns.inflight_requests[rows].astype(np.float64)
        return own + self.columns.inflight_requests_elsewhere[rows] if self.has_elsewhere else own

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

    def set_backlog(self, row: int, tokens: float, now: float) -> None:
        """The work that is left now."""
        self.cells.prefill_backlog_tokens[row] = tokens
        self.cells.prefill_backlog_at_seconds[row] = now

    def _windows(self) -> tuple[RowWindow, ...]:
        return self.prompt_tokens, self.output_tokens, self.busy_seconds
