"""Whose API keys are: remembered for seconds, asked for within bounds.

    an owner   is asked for again after 5 s, or at once when a change of the user is announced; while the store cannot
               answer, the last one known stands, for an hour
    nobody     is remembered apart, so that made-up keys push out no real ones

A key that is not known here costs the store a look-up, and anybody can make up keys. So the look-ups of unknown keys
are bounded, per source and in all (`TooManyUnknownKeys`); those of keys that were somebody's lately are not.
Concurrent questions about one key are one look-up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
from cachetools import TTLCache

from ratelimit.store.limit_store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FRESH_SECONDS = 5.0
"""A revoked key works no longer than this, if the news of it is lost."""
_KNOWN_SECONDS = 3600.0
"""The last owner, for outages."""
_MAX_KEYS = 10_000
"""Owners that are kept, those used last."""
_MAX_SOURCES = 10_000
"""Addresses whose unknown keys are counted."""


class TooManyUnknownKeys(Exception):  # noqa: N818 - it says what is wrong, like the other errors of this package
    """More unknown keys were asked for than may be; nobody looked this one up."""


class LookUpBounds(msgspec.Struct, frozen=True):
    """Look-ups of unknown keys in a second; ten seconds' worth may come at once."""

    per_source: float = 200.0
    total: float = 2000.0


_BOUNDS = LookUpBounds()
_BURST_SECONDS = 10.0
"""Of its rate that a source may ask at once."""


class _Bucket:
    """Look-ups that are left, growing with time."""

    __slots__ = ("_at", "_left", "_per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._left = per_second * _BURST_SECONDS
        self._at = now

    def take(self, now: float) -> bool:
        most = self._per_second * _BURST_SECONDS
        self._left = min(most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class KeyOwners:
    """`look_up` asks the store; `clock` is monotonic."""

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[str | None]],
        clock: Callable[[], float],
        bounds: LookUpBounds = _BOUNDS,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._bounds = bounds
        self._fresh: TTLCache[str, str] = TTLCache(_MAX_KEYS, FRESH_SECONDS, clock)
        self._last: TTLCache[str, str] = TTLCache(_MAX_KEYS, _KNOWN_SECONDS, clock)
        self._nobodys: TTLCache[str, None] = TTLCache(_MAX_KEYS, FRESH_SECONDS, clock)
        self._asking: dict[str, asyncio.Task[str | None]] = {}
        self._all = _Bucket(bounds.total, clock())
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()

    async def owner_of(self, key_sha256: str, source: str) -> str | None:
        """None: nobody's. `StoreUnavailable` where nothing is known of it."""
        owner = self._fresh.get(key_sha256)
        if owner is not None or key_sha256 in self._nobodys:
            return owner
        last = self._last.get(key_sha256)
        if last is None and key_sha256 not in self._asking and not self._may_ask(source):
            raise TooManyUnknownKeys
        try:
            # One waiter that is cancelled must not end the look-up of all others.
            return await asyncio.shield(self._asked(key_sha256))
        except StoreUnavailable:
            if last is None:
                raise
            return last

    def forget(self, user: str) -> None:
        """The user was changed or deleted, or one of its keys revoked."""
        for cache in (self._fresh, self._last):
            for key in [key for key, owner in cache.items() if owner == user]:
                cache.pop(key, None)
        self._nobodys.clear()
        self._asking.clear()

    def doubt_all(self) -> None:
        """Changes may have been missed: everybody is asked for again."""
        self._fresh.clear()
        self._nobodys.clear()
        self._asking.clear()

    def _may_ask(self, source: str) -> bool:
        now = self._clock()
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = _Bucket(self._bounds.per_source, now)
            if len(self._sources) > _MAX_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return bucket.take(now) and self._all.take(now)

    def _asked(self, key_sha256: str) -> asyncio.Task[str | None]:
        task = self._asking.get(key_sha256)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key_sha256))
            self._asking[key_sha256] = task
            task.add_done_callback(lambda done: self._note(key_sha256, done))
        return task

    async def _ask(self, key_sha256: str) -> str | None:
        return await self._look_up(key_sha256)

    def _note(self, key_sha256: str, task: asyncio.Task[str | None]) -> None:
        # Looking at the error also keeps asyncio from reporting it when nobody waits any more.
        succeeded = not task.cancelled() and task.exception() is None
        if self._asking.get(key_sha256) is not task:
            return  # what was read is the past
        del self._asking[key_sha256]
        if not succeeded:
            return
        owner = task.result()
        if owner is None:
            self._nobodys[key_sha256] = None
            self._last.pop(key_sha256, None)
        else:
            self._fresh[key_sha256] = self._last[key_sha256] = owner
