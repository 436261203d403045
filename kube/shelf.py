"""Readings of one kind of object, by scope and uid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Reading = TypeVar("Reading")


class Shelf(Generic[Reading]):
    """A scope is the namespace that is watched, or empty for all of them."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str, Reading]] = {}

    def replace(self, scope: str, readings: Mapping[str, Reading]) -> bool:
        """Takes over a complete list; whether that changed anything."""
        changed = self._scopes.get(scope) != readings
        self._scopes[scope] = dict(readings)
        return changed

    def put(self, scope: str, uid: str, reading: Reading | None) -> bool:
        """Takes over one object, None for one that is gone or of no interest; whether that changed anything."""
        readings = self._scopes.setdefault(scope, {})
        if reading is None:
            return readings.pop(uid, None) is not None
        changed = readings.get(uid) != reading
        readings[uid] = reading
        return changed

    def lose(self, scope: str, code: int) -> bool:
        """A kind that is not there, or may not be seen, has no objects."""
        del code
        return self.replace(scope, {})

    def __iter__(self) -> Iterator[Reading]:
        for readings in self._scopes.values():
            yield from readings.values()

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))
