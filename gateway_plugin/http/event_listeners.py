"""Who listens to events: bounded in all, per user and per source, so that nobody takes the places of all others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LISTENERS = 500
"""Open streams of one process: a task and a queue each."""
MAX_OF_A_USER = 20
"""Tabs and scripts of one user."""
MAX_OF_A_SOURCE = 50
"""An address may be that of a proxy with several users behind it."""


class ListenerPlace:
    """One listener's; given back once, however often that is said."""

    def __init__(self, listeners: Listeners, keys: tuple[str, ...]) -> None:
        self._listeners = listeners
        self._keys = keys

    def leave(self) -> None:
        """Somebody else may have it."""
        keys, self._keys = self._keys, ()
        self._listeners.left(keys)


class Listeners:
    """The places that are taken."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def enter(self, user: str, source: str) -> ListenerPlace | str:
        """A place, or why there is none."""
        wanted = [("all", MAX_LISTENERS, f"{MAX_LISTENERS} clients listen already")]
        wanted.append(
            (f"source {source}", MAX_OF_A_SOURCE, f"{MAX_OF_A_SOURCE} clients at this address listen already")
        )
        if user:
            wanted.append((f"user {user}", MAX_OF_A_USER, f"user {user} listens {MAX_OF_A_USER} times already"))
        for key, maximum, why in wanted:
            if self._taken.get(key, 0) >= maximum:
                return why
        keys = tuple(key for key, _, _ in wanted)
        self._taken.update(keys)
        return ListenerPlace(self, keys)

    def refusal(self, source: str) -> str:
        """Why nobody of this source may listen now, whoever it is; empty when it may depend."""
        if self._taken.get("all", 0) >= MAX_LISTENERS:
            return f"{MAX_LISTENERS} clients listen already"
        if self._taken.get(f"source {source}", 0) >= MAX_OF_A_SOURCE:
            return f"{MAX_OF_A_SOURCE} clients at this address listen already"
        return ""

    def left(self, keys: Iterable[str]) -> None:
        """Gives places back."""
        for key in keys:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def __len__(self) -> int:
        return self._taken.get("all", 0)
