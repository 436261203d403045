"""Deadlines of many futures that all wait equally long: one timer for the oldest, instead of one for each.

A deadline that passes while the event loop is held up by other work says nothing about who should have answered. So the
loop gets a few turns more to read an answer that may have arrived, before `expire` is called.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

F = TypeVar("F", bound="asyncio.Future[Any]")

# From the socket to the caller an answer takes a turn for each future it passes.
TURNS_OF_GRACE = 5
# Timers count milliseconds.
_PRECISION_SECONDS = 0.001


class Deadlines(Generic[F]):
    """`expire` gets every future that is not done `seconds` after it was watched; all belong to one event loop."""

    def __init__(self, seconds: float, expire: Callable[[F], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._watched: deque[tuple[float, F]] = deque()
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, future: F) -> None:
        self._drop_done()
        loop = future.get_loop()
        self._watched.append((loop.time() + self._seconds, future))
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._ring, loop)

    def close(self) -> None:
        """Nobody expires any more."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop_done(self) -> None:
        watched = self._watched
        while watched and watched[0][1].done():
            watched.popleft()

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._drop_done()
        left = self._watched[0][0] - loop.time() if self._watched else None
        if left is None:
            self._timer = None
        elif left > _PRECISION_SECONDS:
            self._timer = loop.call_later(left, self._ring, loop)
        else:
            self._timer = loop.call_soon(self._next_turn, loop, loop.time() + _PRECISION_SECONDS, TURNS_OF_GRACE)

    def _next_turn(self, loop: asyncio.AbstractEventLoop, due: float, turns_left: int) -> None:
        if turns_left > 1:
            self._timer = loop.call_soon(self._next_turn, loop, due, turns_left - 1)
            return
        while self._watched and self._watched[0][0] <= due:
            # Each by a callback of its own: an error about one must not leave the others waiting for ever.
            loop.call_soon(self._end, self._watched.popleft()[1])
        self._ring(loop)

    def _end(self, future: F) -> None:
        if not future.done():
            self._expire(future)
