"""A lease books one request on one pod, and is released exactly once, whatever ended the request.

It holds the row's own incarnation and not the pod's name or row alone: when the pod has gone and its row belongs to a
successor, the release must not touch the successor's books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.books import Books


class Work(msgspec.Struct, frozen=True, gc=False):
    """What a request is expected to cost, in tokens."""

    prompt_tokens: float = 0.0
    uncached_tokens: float = 0.0
    """Of the prompt, those that the pod must compute."""
    output_tokens: float = 0.0


class Lease:
    """One in-flight request on one incarnation of one pod."""

    __slots__ = (
        "_books",
        "_place",
        "_prefill_done_at_seconds",
        "_released",
        "incarnation",
        "on_release",
        "row",
        "work",
    )

    def __init__(self, books: Books, row: int, work: Work) -> None:
        cells = books.cells
        self._books = books
        self._released = False
        self.on_release: Callable[[], None] | None = None
        self.row = row
        self.incarnation = cells.incarnation[row]
        self.work = work
        if not cells.inflight_requests[row]:
            cells.busy_since_seconds[row] = books.clock()
        cells.inflight_requests[row] += 1
        cells.requests_total[row] += 1
        cells.booked_requests_since_poll[row] += 1
        cells.inflight_prompt_tokens[row] += work.prompt_tokens
        cells.inflight_output_tokens[row] += work.output_tokens
        cells.booked_tokens_since_poll[row] += work.uncached_tokens
        self._prefill_done_at_seconds = books.add_prefill(row, work.uncached_tokens)
        self._place = books.pace.place(row)

    @property
    def current(self) -> bool:
        """True while the row still belongs to the pod that was booked."""
        return self._books.cells.incarnation[self.row] == self.incarnation

    @property
    def released(self) -> bool:
        """True once the request is over."""
        return self._released

    def release(self) -> bool:
        """Takes the request off the pod's books; False when that was done before."""
        if self._released:
            return False
        self._released = True
        if self.current:
            self._give_back()
        if self.on_release is not None:
            self.on_release()
        return True

    def _give_back(self) -> None:
        books, row, work = self._books, self.row, self.work
        cells, now = books.cells, books.clock()
        cells.inflight_requests[row] -= 1
        if cells.inflight_requests[row]:
            cells.inflight_prompt_tokens[row] -= work.prompt_tokens
            cells.inflight_output_tokens[row] -= work.output_tokens
        else:  # an idle pod has nothing in flight, whatever the rounding of many sums says
            cells.inflight_prompt_tokens[row] = cells.inflight_output_tokens[row] = 0.0
            books.busy_seconds.add_interval(row, cells.busy_since_seconds[row], now)
        books.drop_prefill(row, work.uncached_tokens, self._prefill_done_at_seconds)
        books.prompt_tokens.add(row, work.prompt_tokens, now)
        books.output_tokens.add(row, work.output_tokens, now)

    def correct(self, prompt_tokens: float, output_tokens: float) -> None:
        """Puts real token counts in place of the expected ones, once, after the release."""
        if self.current:
            now = self._books.clock()
            self._books.prompt_tokens.add(self.row, prompt_tokens - self.work.prompt_tokens, now)
            self._books.output_tokens.add(self.row, output_tokens - self.work.output_tokens, now)

    def first_token_after(self, seconds: float) -> None:
        """Teaches how long after the booking the pod came to this request's first token; any time later, and once."""
        if self.current:
            self._books.pace.first_token(self.row, self._place, seconds)

    def __repr__(self) -> str:
        state = "released" if self._released else "held"
        return f"<Lease row={self.row} incarnation={self.incarnation} {state}>"
