"""What could not be told to the store yet: first in, first out, and bounded.

The oldest is dropped when there is no room, and what waited for `max_age_seconds` when it says nothing any more; both
are counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")


class Backlog(Generic[T]):
    """`clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], *, max_age_seconds: float, max_items: int = 10_000) -> None:
        self.dropped = 0
        self.expired = 0
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._max_items = max_items
        self._items: deque[tuple[float, T]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T]) -> None:
        now = self._clock()
        self._items.extend((now, item) for item in items)
        self._shorten()

    def take(self, max_items: int) -> list[tuple[float, T]]:
        """The oldest items, each with the time it was put."""
        oldest = self._clock() - self._max_age_seconds
        while self._items and self._items[0][0] <= oldest:
            self._items.popleft()
            self.expired += 1
        return [self._items.popleft() for _ in range(min(max_items, len(self._items)))]

    def put_back(self, taken: Sequence[tuple[float, T]]) -> None:
        """What was taken and could not be told, in its old place."""
        self._items.extendleft(reversed(taken))
        self._shorten()

    def _shorten(self) -> None:
        while len(self._items) > self._max_items:
            self._items.popleft()
            self.dropped += 1
