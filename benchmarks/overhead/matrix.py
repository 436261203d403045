"""Which loads are sent through what: sizes of prompts, kinds of responses, paces.

The whole product takes an hour. The usual run is a selection: every subject with the small prompt, both responses and
all paces; larger prompts for the main ones; each strategy once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.load import Load
from benchmarks.overhead.variants import ALONE, ECHO, FREE, LIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.overhead.variants import Subject

    Rounds = tuple["Cell", Sequence[Subject]]
    """A load, and those that take turns with it."""

SMALL, MIDDLE, LARGE = "1.2 KB", "32 KB", "512 KB"
SIZES = {SMALL: 1200, MIDDLE: 32 * 1024, LARGE: 512 * 1024}
PLAIN, STREAM = "plain", "stream"
ONE, MANY, PACED, SLOWLY = "1 at a time", "32 at once", "200 per second", "50 per second"
RATES = {PACED: 200.0, SLOWLY: 50.0}
CONCURRENCY = {ONE: 1, MANY: 32}
_REQUESTS = {
    (PLAIN, ONE): 250,
    (PLAIN, MANY): 1200,
    (PLAIN, PACED): 300,
    (STREAM, ONE): 6,
    (STREAM, MANY): 80,
    (STREAM, SLOWLY): 50,
    (STREAM, PACED): 200,
}
_FEWER = {SMALL: 1.0, MIDDLE: 0.4, LARGE: 0.1}
QUICK_SHARE = 0.06
QUICK_SUBJECTS = (ALONE, ECHO, FREE, LIMITED)
STEADY_SUBJECTS = (ALONE, FREE, LIMITED)
"""Of which added times are promised."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One load; a figure's path begins with its path."""

    response: str
    size: str
    pace: str

    @property
    def path(self) -> str:
        """From the general to the special."""
        return f"{self.response}/{self.size}/{self.pace}"

    def load(self, share: float = 1.0) -> Load:
        """So many of its requests; the port is not known yet."""
        requests = _REQUESTS[self.response, self.pace] * (_FEWER[self.size] if self.response == PLAIN else 1.0)
        return Load(
            0,
            requests=max(2, round(requests * share)),
            concurrency=CONCURRENCY.get(self.pace, 0),
            rate_per_second=RATES.get(self.pace, 0.0),
            stream=self.response == STREAM,
            gap_ms=1 if self.pace == ONE else 4,
            body_bytes=SIZES[self.size],
        )


BUSY, STREAMS, STEADY = Cell(PLAIN, SMALL, MANY), Cell(STREAM, SMALL, MANY), Cell(PLAIN, SMALL, PACED)
_USUAL = (
    *(Cell(PLAIN, SMALL, pace) for pace in (ONE, MANY, PACED)),
    # 200 streams of 128 writes a second fill two cores with load and engines alone.
    *(Cell(STREAM, SMALL, pace) for pace in (ONE, MANY, SLOWLY)),
)
LARGER = (Cell(PLAIN, MIDDLE, MANY), Cell(PLAIN, MIDDLE, PACED), Cell(PLAIN, LARGE, ONE), Cell(PLAIN, LARGE, MANY))
_QUICK = (BUSY, STEADY, STREAMS)


def usual(subjects: Sequence[Subject], strategies: Sequence[Subject], main: Iterable[str]) -> Iterator[Rounds]:
    """The selection that fits into some minutes."""
    names = {*main}
    yield from ((cell, subjects) for cell in _USUAL)
    larger: list[Rounds] = [(cell, [one]) for cell in LARGER for one in subjects if one.name in names]
    # All strategies share a chain: between two of them others take their turns, while its log comes in.
    yield from woven(larger, [(BUSY, [one]) for one in strategies])
    # A p99 wants more requests than the rest.
    yield STEADY, [one for one in subjects if one.name in STEADY_SUBJECTS]


def woven(many: Sequence[Rounds], few: Sequence[Rounds]) -> Iterator[Rounds]:
    """All of both, the few spread evenly over the many."""
    done = 0
    for number, one in enumerate(many, start=1):
        yield one
        until = number * len(few) // len(many)
        yield from few[done:until]
        done = until


def everything(subjects: Sequence[Subject], strategies: Sequence[Subject]) -> Iterator[Rounds]:
    """The whole product."""
    for response, pace in _REQUESTS:
        yield from ((Cell(response, size, pace), [*subjects, *strategies]) for size in SIZES)


def quick(subjects: Sequence[Subject], strategies: Sequence[Subject]) -> Iterator[Rounds]:
    """Something of every kind."""
    yield from ((cell, subjects) for cell in _QUICK)
    yield Cell(PLAIN, LARGE, MANY), subjects[:1]
    yield BUSY, strategies[:1]
