"""What happened to each kind of object, for watchers, until it is forgotten."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import gone

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from tests.fake_kubernetes.resources import Resource
    from tests.fake_kubernetes.selectors import Predicate


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `before` is empty for a new object; `body` is the last state of a deleted one."""

    version: int
    kind: str
    body: Mapping[str, Any]
    before: Mapping[str, Any]

    def seen_by(self, namespace: str, predicate: Predicate) -> str:
        """The event's type for a watcher with these selectors; empty when it sees nothing."""
        if namespace and self.body["metadata"].get("namespace") != namespace:
            return ""
        was = bool(self.before) and predicate(self.before)
        matches = self.kind != "DELETED" and predicate(self.body)
        # An object whose labels change enters or leaves the watcher's world.
        return {(True, True): "MODIFIED", (False, True): "ADDED", (True, False): "DELETED"}.get((was, matches), "")


@dataclass(slots=True)
class History:
    """`version` is the newest; a watcher may ask for everything after `oldest`."""

    version: int = 1
    oldest: int = 0
    listeners: set[asyncio.Event] = field(default_factory=set)
    retired: Counter[Resource] = field(default_factory=Counter)
    """How often a kind was taken away: watches of before see no more of it."""
    _changes: dict[Resource, list[Change]] = field(default_factory=dict)

    def next_version(self) -> int:
        """For a write that is about to happen."""
        self.version += 1
        return self.version

    def add(self, resource: Resource, change: Change) -> None:
        """Tells all watchers."""
        self._changes.setdefault(resource, []).append(change)
        for listener in self.listeners:
            listener.set()

    def since(self, resource: Resource, version: int) -> list[Change]:
        """Everything after the version; raises 410 when part of it is forgotten."""
        if version < self.oldest:
            raise gone(version, self.oldest)
        changes = self._changes.get(resource, [])
        return changes[bisect_right(changes, version, key=lambda change: change.version) :]

    def retire(self, resource: Resource) -> None:
        """The kind goes."""
        self.retired[resource] += 1
        for listener in self.listeners:
            listener.set()

    def rewind(self, version: int) -> None:
        """As a restored etcd: nothing that came later has ever been."""
        self.version, self.oldest = version, version
        self._changes.clear()

    def forget(self) -> None:
        """As a compaction of etcd does."""
        self.oldest = self.version
        self._changes.clear()
