"""What the gateway itself knows of each pod's work: in-flight requests and tokens, prefill backlog, busy time.

    backlog(t) = max(0, backlog(t0) - prefill rate * (t - t0)), tokens

The prefill work of a request is counted from its booking and leaves as the engine is expected to compute it, in order
of arrival; nobody tells the gateway of first tokens while they happen. What is left of it leaves with the lease. First
tokens that are told afterwards set rate and backlog right (see `routing.pods.prefill_pace`).
A pod has one queue: what other replicas book joins it (see `routing.pods.elsewhere`).

A lease is one entry of the books: it books one request on one pod, and is released exactly once, whatever ended the
request. It holds the row's own incarnation and not the pod's name or row alone: when the pod has gone and its row
belongs to a successor, the release must not touch the successor's books.

What ended in the last minute is summed up in windows of 12 buckets. What falls out of a window falls out a bucket at a
time, so a sum covers between 55 and 60 seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.pods.adapters_in_use import AdaptersInUse
from routing.pods.columns import DEFAULT_PREFILL_TOKENS_PER_SECOND, Columns
from routing.pods.decode_pace import DecodePace
from routing.pods.engine_polls import EnginePolls
from routing.pods.engine_queue import WaitingLines
from routing.pods.mirror import Mirror
from routing.pods.prefill_pace import Place, PrefillPace
from routing.pods.sudden_change import Speeds

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from routing.pods.columns import FloatColumn, IntColumn


class Work(msgspec.Struct, frozen=True, gc=False):
    """What a request is expected to cost, in tokens."""

    prompt_tokens: float = 0.0
    uncached_tokens: float = 0.0
    """Of the prompt, those that the pod must compute."""
    output_tokens: float = 0.0


class Lease(msgspec.Struct, eq=False, gc=False):
    """One in-flight request on one incarnation of one pod; see `booked`."""

    books: Books
    row: int
    incarnation: int
    work: Work
    place: Place
    adapter: str = ""
    """The LoRA adapter that the request needs, if any."""
    charge_id: str = ""
    """Under which its outcome is waited for; empty when it is not."""
    released: bool = False
    """True once the request is over."""
    moved: bool = False
    """Whether another pod took the request over: first tokens then say nothing of its place in a queue."""
    releases: deque[tuple[float, str]] | None = None
    """Told of the release: when, and the charge id."""

    @property
    def current(self) -> bool:
        """True while the row still belongs to the pod that was booked."""
        return self.books.cells.incarnation[self.row] == self.incarnation

    def needs(self, adapter: str) -> None:
        """The request is one for an adapter; empty for the model itself."""
        if adapter:
            self.adapter = adapter
            self.books.adapters.began(self.row, adapter)

    def release(self) -> bool:
        """Takes the request off the pod's books; False when that was done before."""
        if self.released:
            return False
        self.released = True
        books = self.books
        now = books.clock()
        if books.cells.incarnation[self.row] == self.incarnation:
            self._take_off(now)
            self._count(1.0, now)
        if self.releases is not None:
            self.releases.append((now, self.charge_id))
        return True

    def move(self, row: int) -> None:
        """The request went on to another row's pod, which is booked from now on; after the release, only counted."""
        if row == self.row:
            return
        books, now = self.books, self.books.clock()
        self.moved = True
        if self.released:
            if self.current:
                self._count(-1.0, now)
            self.row, self.incarnation = row, books.cells.incarnation[row]
            self._count(1.0, now)
            return
        if self.current:
            self._take_off(now)
        there = booked(books, row, self.work, now)
        self.row, self.incarnation, self.place = row, there.incarnation, there.place
        self.needs(self.adapter)

    def _take_off(self, now: float) -> None:
        books, row, work = self.books, self.row, self.work
        cells = books.cells
        cells.inflight_requests[row] = inflight = cells.inflight_requests[row] - 1
        if inflight:
            cells.inflight_prompt_tokens[row] -= work.prompt_tokens
            cells.inflight_output_tokens[row] -= work.output_tokens
        else:  # an idle pod has nothing in flight, whatever the rounding of many sums says
            cells.inflight_prompt_tokens[row] = cells.inflight_output_tokens[row] = 0.0
            books.busy_seconds.add_interval(row, cells.busy_since_seconds[row], now)
        if self.adapter:
            books.adapters.ended(row, self.adapter)
        if now < self.place.done_at_seconds:
            books.drop_prefill(row, work.uncached_tokens, self.place, now)

    def _count(self, times: float, now: float) -> None:
        self.books.prompt_tokens.add(self.row, times * self.work.prompt_tokens, now)
        self.books.output_tokens.add(self.row, times * self.work.output_tokens, now)

    def correct(self, prompt_tokens: float, output_tokens: float) -> None:
        """Puts real token counts in place of the expected ones, once, after the release."""
        if self.current:
            books, row, work, now = self.books, self.row, self.work, self.books.clock()
            books.prompt_tokens.add(row, prompt_tokens - work.prompt_tokens, now)
            books.output_tokens.add(row, output_tokens - work.output_tokens, now)

    def first_token_after(self, seconds: float) -> None:
        """Teaches how long after the booking the pod came to this request's first token; any time later, and once."""
        if self.current and not self.moved:
            self.books.pace.first_token(self.row, self.place, self.work.uncached_tokens, seconds)
            self.books.waiting_lines.computed(self.row, self.place.at_seconds)

    def __repr__(self) -> str:
        state = "released" if self.released else "held"
        return f"<Lease row={self.row} incarnation={self.incarnation} {state}>"


def booked(books: Books, row: int, work: Work, now: float) -> Lease:
    """Counts one more request on the row's pod until the lease is released."""
    cells = books.cells
    cells.inflight_requests[row] = inflight = cells.inflight_requests[row] + 1
    if inflight == 1:
        cells.busy_since_seconds[row] = now
    cells.requests_total[row] += 1
    cells.booked_requests_since_poll[row] += 1
    cells.inflight_prompt_tokens[row] += work.prompt_tokens
    cells.inflight_output_tokens[row] += work.output_tokens
    cells.booked_tokens_since_poll[row] += work.uncached_tokens
    place = books.add_prefill(row, work.uncached_tokens, now)
    return Lease(books, row, cells.incarnation[row], work, place)


WINDOW_SECONDS = 60.0
"""Over which a pod's requests and tokens are summed."""
_BUCKETS = 12


class RowWindow:
    """A sliding sum for every row. Times must not go backwards."""

    def __init__(self, rows: int, window_seconds: float = WINDOW_SECONDS) -> None:
        self.window_seconds = window_seconds
        self._bucket_seconds = window_seconds / _BUCKETS
        self._bucket = self._at = 0
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
        self._cells[row * _BUCKETS + self._at] += value

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
        self._bucket, self._at = bucket, bucket % _BUCKETS
        self._bucket_ends_at_seconds = (bucket + 1) * self._bucket_seconds

    def _show(self, values: NDArray[np.float64]) -> None:
        self._values = values
        # The same memory, a number at a time (see `routing.pods.cells`).
        self._cells: memoryview[float] = values.reshape(-1).data  # type: ignore[assignment] # of floats


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
        self.speeds = Speeds(self)
        self.pace = PrefillPace(self, self.speeds)
        self.decode = DecodePace(self, self.speeds, self.pace.rows_of_model)
        self.speeds.on_change = self.decode.changed
        self.adapters = AdaptersInUse()
        self.waiting_lines = WaitingLines()
        self.polls = EnginePolls(self, self.waiting_lines, self.speeds, self.pace, self.decode)
        self.waiting_lines.grow(self.columns.capacity)
        self.prompt_tokens = RowWindow(self.columns.capacity)
        self.output_tokens = RowWindow(self.columns.capacity)
        self.busy_seconds = RowWindow(self.columns.capacity)

    def grow(self) -> None:
        """Doubles the number of rows."""
        self.columns.grow()
        self.waiting_lines.grow(self.columns.capacity)
        for window in self._windows():
            window.grow(self.columns.capacity)

    def reset(self, row: int, incarnation: int) -> None:
        """Gives the row to a new pod."""
        self.columns.reset(row, incarnation)
        for learned in (self.waiting_lines, self.polls, self.pace, self.decode, self.speeds, self.adapters):
            learned.reset(row)
        for window in self._windows():
            window.reset(row)

    def add_prefill(self, row: int, tokens: float, now: float) -> Place:
        """Queues prefill work."""
        cells, rate = self.cells, self.rate_of(row)
        cells.prefill_backlog_tokens[row] = backlog = self.backlog_of(row, now, rate) + tokens
        cells.prefill_backlog_at_seconds[row] = now
        cells.prefill_booked_tokens[row] += tokens
        cells.prefill_queued_tokens[row] = position = cells.prefill_queued_tokens[row] + tokens
        self.waiting_lines.lines[row].append((now, tokens))
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
        self.waiting_lines.join(row, then, requests, prefill_tokens)

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

    def set_rate(self, row: int, tokens_per_second: float) -> None:
        """The pod computes so fast from now on."""
        now = self.clock()
        self.set_backlog(row, self.backlog_of(row, now, self.rate_of(row)), now)
        self.cells.prefill_tokens_per_second[row] = tokens_per_second

    def set_backlog(self, row: int, tokens: float, now: float) -> None:
        """The work that is left now."""
        self.cells.prefill_backlog_tokens[row] = tokens
        self.cells.prefill_backlog_at_seconds[row] = now

    def _windows(self) -> tuple[RowWindow, ...]:
        return self.prompt_tokens, self.output_tokens, self.busy_seconds
