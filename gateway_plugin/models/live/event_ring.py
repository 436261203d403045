"""The last changes of the catalogue, for those who listen: one ring for all, and each listener has a place in it.

Nobody is waited for. A listener that is slower than the ring, or that comes back to another process, has missed events
and is told so.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.models.catalogue.changes import Change

MAX_CHANGES = 2000
"""Kept for those who come back with `Last-Event-ID`; who missed more starts anew."""
_MAX_DIGITS = 18
"""Of an event's id; 2^63 has 19."""


class Numbered(NamedTuple):
    """A change and its place."""

    number: int
    id: str
    at_seconds: float
    change: Change


class EventRing:
    """`clock` is the wall clock."""

    def __init__(self, clock: Callable[[], float], size: int = MAX_CHANGES) -> None:
        self.newest = 0
        """The place of the last change in the ring."""
        self.is_closed = False
        self._clock = clock
        self._epoch = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._forgotten = 0
        self._changes: deque[Numbered] = deque(maxlen=size)
        self._news = asyncio.Event()

    def add(self, changes: Iterable[Change]) -> list[Numbered]:
        """Takes over what happened, and wakes the listeners."""
        added = self.numbered(changes)
        for one in added:
            if len(self._changes) == self._changes.maxlen:
                self._forgotten = self._changes[0].number
            self._changes.append(one)
            self.newest = one.number
        if added:
            self._wake()
        return added

    def numbered(self, changes: Iterable[Change]) -> list[Numbered]:
        """The changes with ids of their own, for others than listeners."""
        now = self._clock()
        return [
            Numbered(number, f"evt_{self._epoch}_{number}", now, change)
            for change, number in zip(changes, self._numbers, strict=False)
        ]

    def since(self, number: int) -> list[Numbered] | None:
        """What came after a place; None when some of it is forgotten."""
        if number < self._forgotten:
            return None
        return [one for one in self._changes if one.number > number] if number < self.newest else []

    def place_of(self, event_id: str) -> int | None:
        """The place of an event's id, as `Last-Event-ID` says it; None for one of another process."""
        prefix, _, rest = event_id.removeprefix("evt_").partition("_")
        number = rest.partition("-")[0]
        if prefix != self._epoch or not (number.isascii() and number.isdecimal()) or len(number) > _MAX_DIGITS:
            return None
        return min(int(number), self.newest)

    async def wait(self, number: int, timeout_seconds: float) -> None:
        """Until something came after the place, the ring was closed, or the time is over."""
        if self.newest <= number and not self.is_closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_seconds)

    def close(self) -> None:
        """Sends all listeners home."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
