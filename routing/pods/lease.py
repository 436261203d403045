"""A lease books one request on one pod, and is released exactly once, whatever ended the request.

It holds the row's own incarnation and not the pod's name or row alone: when the pod has gone and its row belongs to a
successor, the release must not touch the successor's books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections import deque

    from routing.pods.books import Books
    from routing.pods.prefill_pace import Place


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
            self.books.pace.first_token(self.row, self.place, seconds)

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
