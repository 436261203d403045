"""Follows one kind of objects: a complete list, then a watch from its version, again and again.

- The watch goes on from the last version heard, after an end in order at once, after a failure with back-off.
- 410 Gone means that the server has forgotten that version: a new list, whose readings replace the old ones at once.
- Bookmarks bring versions without objects, so that a quiet kind's version does not grow too old.
- Silence is not trusted: a connection that is dead without an end brings none. Servers send a bookmark a minute.
- A server that knows only versions older than the last one heard was restored from a backup. It would let a watch wait
  until it has come so far again, so its version is asked for before a watch goes on, and a lower one means a new list.
- A kind that the cluster does not have (404), or that this process may not see (403), is looked for again now and then
  when it is optional; what was known of it is the destination's to decide.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from kube.api import ApiRefusedError, KubernetesError, collection_path
from kube.backoff import Backoff
from kube.follow_counts import FollowCounts
from kube.lines import Lines, LineTooLongError
from kube.listing import list_all, slices
from kube.objects import decode_any, decode_event, decode_failure, decode_page

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from kube.api import Api
    from kube.feed import Feed

logger = logging.getLogger(__name__)

Reading = TypeVar("Reading")

WATCH_SECONDS = (300, 600)
"""The server ends a watch after a time in this range, at random, as all clients must come back some time."""
IDLE_SECONDS = 90.0
"""Without a line or bookmark, before a watch is made anew."""
ABSENT_SECONDS = 15.0
"""Between two looks for an optional kind that is not there."""
STANDING_SECONDS = 1.0
"""A watch that is open for this long is no trouble any more."""
STEADY_SECONDS = 5.0
"""A watch that lasted this long worked, even if nothing happened in it."""
_ABSENT_CODES = (403, 404)
_GONE = 410


class _WatchEndError(Exception):
    """`cause` is a label of the metrics. `relist`: going on from the last version will not do."""

    def __init__(self, cause: str, text: str, *, relist: bool = False, asked_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.cause = cause
        self.relist = relist
        self.asked_seconds = asked_seconds


class Reflector(Generic[Reading]):
    """`on_change` is called after the shelf has changed, and after the first list."""

    def __init__(
        self,
        api: Api,
        feed: Feed[Reading],
        scope: str,
        on_change: Callable[[], None],
        rng: random.Random,
        *,
        idle_seconds: float = IDLE_SECONDS,
        absent_seconds: float = ABSENT_SECONDS,
    ) -> None:
        self.counts = FollowCounts(feed.plural, scope)
        self._api = api
        self._feed = feed
        self._scope = scope
        self._path = collection_path(feed.group_version, feed.plural, scope)
        self._on_change = on_change
        self._rng = rng
        self._tries, self._relists = Backoff(rng), Backoff(rng)
        self._idle_seconds = idle_seconds
        self._absent_seconds = absent_seconds
        self._version = ""
        self._is_listed = False

    async def run(self) -> None:
        """Follows until cancelled."""
        while True:
            delay_seconds = await self._step()
            await asyncio.sleep(delay_seconds)

    async def _step(self) -> float:
        """One list or one watch; how long to wait then."""
        try:
            if not self._version:
                await self._list()
                return 0.0
            return await self._watch_once()
        except ApiRefusedError as error:
            self.counts.lists["refused"] += 1
            if self._feed.optional and error.code in _ABSENT_CODES:
                self._absent(error)
                return self._absent_seconds
            return self._failed(f"list: {error}", self._tries.next_seconds(error.retry_after_seconds))
        except KubernetesError as error:
            self.counts.lists["unreachable"] += 1
            return self._failed(f"list: {error}", self._tries.next_seconds())
        except msgspec.DecodeError as error:
            self.counts.lists["unreadable"] += 1
            return self._failed(f"list: {error}", self._tries.next_seconds())

    async def _list(self) -> None:
        """Takes a complete list over at once."""
        listed = await list_all(self._api, self._feed, self._path)
        self.counts.lists["complete"] += 1
        self._version, self._is_listed = listed.version, True
        if self.counts.absent:
            logger.info("%s: they are followed now", self.counts)
        self.counts.absent = 0
        self._heard()
        self._tries.reset()
        self._synced(listed.readings)

    def _synced(self, readings: Mapping[str, Reading]) -> None:
        changed = self._feed.shelf.replace(self._scope, readings)
        first = not self.counts.synced
        self.counts.synced = True
        if changed or first:
            self._on_change()

    def _absent(self, error: ApiRefusedError) -> None:
        if self.counts.absent != error.code:
            was_there = self.counts.synced and not self.counts.absent
            logger.log(logging.WARNING if was_there else logging.INFO, "%s: none are followed (%s)", self.counts, error)
        self.counts.absent = error.code
        self._heard()
        self._version = ""
        self.counts.problem = ""
        changed, first = self._feed.shelf.lose(self._scope, error.code), not self.counts.synced
        self.counts.synced = True
        if changed or first:
            self._on_change()

    async def _watch_once(self) -> float:
        loop = asyncio.get_running_loop()
        began_seconds = loop.time()
        events = self.counts.events.total()
        try:
            await self._watch()
            end = _WatchEndError("closed", "the server ended it")
        except _WatchEndError as error:
            end = error
        self.counts.watch_ends[end.cause] += 1
        if end.relist:
            self._version = ""
        if self.counts.events.total() > events or loop.time() - began_seconds >= STEADY_SECONDS:
            self._works()
            if end.cause in ("closed", "idle"):
                return 0.0
        # A list that succeeds does not shorten the wait for the next one: only a watch that works makes lists rare.
        backoff = self._relists if end.relist else self._tries
        # A forgotten version is no trouble: watchers of quiet kinds meet it often.
        return self._failed(f"watch: {end}", backoff.next_seconds(end.asked_seconds), expected=end.cause == "gone")

    async def _watch(self) -> None:
        """Returns when the server ends the stream in order; raises _WatchEndError otherwise."""
        query = self._feed.selection() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._rng.randint(*WATCH_SECONDS)),
        }
        lines, opened = Lines(), False
        try:
            await self._check_version()
            async with self._api.stream(self._path, query, self._idle_seconds) as pieces:
                opened = True
                standing = asyncio.get_running_loop().call_later(STANDING_SECONDS, self._is_followed)
                try:
                    async for piece in pieces:
                        self._heard()
                        await self._take(lines.feed(piece))
                finally:
                    standing.cancel()
        except ApiRefusedError as error:
            gone = error.code == _GONE
            # What may not or cannot be watched may still be listed, which shows what is the matter.
            relist = gone or error.code in _ABSENT_CODES
            cause, asked_seconds = "gone" if gone else "refused", error.retry_after_seconds
            raise _WatchEndError(cause, str(error), relist=relist, asked_seconds=asked_seconds) from error
        except KubernetesError as error:
            idle = opened and isinstance(error.__cause__, TimeoutError)
            raise _WatchEndError("idle" if idle else "lost", str(error)) from error
        except (msgspec.DecodeError, LineTooLongError) as error:
            # Whatever was in that line is missing: only a list makes it good.
            raise _WatchEndError("unreadable", str(error), relist=True) from error

    async def _check_version(self) -> None:
        """Raises _WatchEndError where the server knows only older versions. Right after a list nobody need ask."""
        if self._is_listed:
            self._is_listed = False
            return
        page = decode_page(await self._api.get(self._path, {"limit": "1"} | self._feed.selection()))
        if is_older(page.metadata.resource_version, self._version):
            text = f"version {self._version} is unknown to it, it is at {page.metadata.resource_version}"
            raise _WatchEndError("restored", text, relist=True)

    async def _take(self, lines: list[bytes]) -> None:
        for some in slices(lines):
            for line in some:
                if self._take_one(line):
                    self._on_change()
            self._works()
            await asyncio.sleep(0)

    def _take_one(self, line: bytes) -> bool:
        """Whether the shelf has changed."""
        event = decode_event(line)
        if event.type == "ERROR":
            failure = decode_failure(event.object)
            text = f"{failure.code} {failure.reason}: {failure.message}"
            gone = failure.code == _GONE
            raise _WatchEndError("gone" if gone else "error", text, relist=gone)
        self.counts.events[event.type.lower()] += 1
        if event.type == "BOOKMARK":
            self._version = decode_any(event.object).metadata.resource_version or self._version
            return False
        found = self._feed.read(event.object)
        self._version = found.version or self._version
        if not found.uid:
            return False
        return self._feed.shelf.put(self._scope, found.uid, None if event.type == "DELETED" else found.reading)

    def _heard(self) -> None:
        self.counts.heard_at_seconds = asyncio.get_running_loop().time()

    def _works(self) -> None:
        self._heard()
        self._tries.reset()
        self._relists.reset()
        self._is_followed()

    def _is_followed(self) -> None:
        if self.counts.problem:
            logger.info("%s: followed again", self.counts)
        self.counts.problem = ""

    def _failed(self, text: str, delay_seconds: float, *, expected: bool = False) -> float:
        # One warning a trouble; the metrics tell how it goes on.
        level = logging.DEBUG if self.counts.problem or expected else logging.WARNING
        logger.log(level, "%s: %s; next try in %.1f s", self.counts, text, delay_seconds)
        if not expected:
            self.counts.problem = text
        return delay_seconds


def is_older(version: str, than: str) -> bool:
    """Whether a resource version comes before another. Servers of Kubernetes write numbers; of others nobody knows."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
