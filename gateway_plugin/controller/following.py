"""Follows every kind that there is into the store, and those that appear later, and wakes the reconciler.

A kind that the cluster does not have, any more or yet, is looked for again and again (`kube.reflector`): one that comes
late is followed from then on. One that may not be read any more stays as it was last seen, and is named as unreadable,
so that nothing is deleted for the lack of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from gateway_plugin.controller.kinds import REQUIRED, WATCHED, ObjectKind
from gateway_plugin.controller.workloads import Raw, Ref, ref_of
from kube.feed import Feed, Found
from kube.reflector import ABSENT_SECONDS, Reflector

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from gateway_plugin.controller.object_store import Known, Store
    from kube.api import Api
    from kube.follow_counts import FollowCounts

_EVERYWHERE = ("",)
_NOT_FOUND = 404


class Followers:
    """One for each kind and namespace."""

    def __init__(
        self,
        api: Api,
        store: Store,
        namespaces: Sequence[str],
        on_change: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self.calls = api.calls
        self._reflectors = [
            Reflector(api, _feed(kind, store), namespace, on_change, rng, absent_seconds=ABSENT_SECONDS)
            for kind in WATCHED
            for namespace in namespaces or _EVERYWHERE
        ]

    async def run(self) -> None:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    @property
    def counts(self) -> list[FollowCounts]:
        """How each fares."""
        return [reflector.counts for reflector in self._reflectors]

    @property
    def problems(self) -> list[str]:
        """What this process is deaf to; empty while all that it cannot do without is followed."""
        found = []
        for reflector in self._reflectors:
            counts = reflector.counts
            if not counts.synced or counts.problem:
                found.append(f"{counts}: {counts.problem or 'not read yet'}")
            elif counts.absent and counts.resource in _REQUIRED_PLURALS:
                found.append(f"{counts}: {'no such kind' if counts.absent == _NOT_FOUND else 'may not be read'}")
        return found


_REQUIRED_PLURALS = {kind.plural for kind in REQUIRED}

_Reading = tuple[Ref, Any]


class _Shelf:
    """The store's side of one kind."""

    def __init__(self, kind: ObjectKind, store: Store) -> None:
        self._kind, self._store = kind, store
        self._refs: dict[str, dict[str, Ref]] = {}

    def replace(self, scope: str, readings: Mapping[str, _Reading]) -> bool:
        """Takes over a complete list, and that there is such a kind."""
        self._refs[scope] = {uid: ref for uid, (ref, _) in readings.items()}
        was_absent = self._store.found(self._kind, scope)
        return self._store.relist(self._kind, scope, dict(readings.values())) or was_absent

    def put(self, scope: str, uid: str, reading: _Reading | None) -> bool:
        """One object; None when it is gone, or is no model's any more."""
        refs = self._refs.setdefault(scope, {})
        if reading is None:
            ref = refs.pop(uid, None)
            return ref is not None and self._store.drop(ref)
        ref, known = reading
        refs[uid] = ref
        return self._store.put_known(ref, known)

    def lose(self, scope: str, code: int) -> bool:
        """404 means that all its objects are gone; of 403 nobody can tell."""
        if code != _NOT_FOUND:
            return self._store.hide(self._kind, scope)
        self._refs.pop(scope, None)
        was_known = self._store.miss(self._kind, scope)
        return self._store.relist(self._kind, scope, {}) or was_known


def _feed(kind: ObjectKind, store: Store) -> Feed[_Reading]:
    def read(raw: msgspec.Raw) -> Found[_Reading]:
        body: Raw = msgspec.json.decode(raw)
        metadata = body.get("metadata") or {}
        known: Known | None = store.read(kind, body)
        reading = None if known is None else (ref_of(kind, body), known)
        return Found(str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")), reading)

    return Feed(kind.api_version, kind.plural, "", _Shelf(kind, store), read, optional=True)
