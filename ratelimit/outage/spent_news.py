"""Replicas tell each other what their users have spent, so that each can go on from it when the store goes away.

A replica hears of a user with its own admissions only. One that did not hear of those of others would give out, in an
outage, what they have let in already. So each tells, five times a second, the windows that the store named to it since
it told last, in a short stream that all read. Nothing is told while there is one replica. Bounded: 2,000 subjects a
turn, those heard of last, and of what others tell the newest 4 MiB a turn; what strangers write there is passed over,
and a key that refuses to be written is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from ratelimit.rare_log import RareLog
from ratelimit.store.limit_store import StoreUnavailable
from ratelimit.users.subjects import Source, Subject
from ratelimit.windows.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.outage.last_spent import Heard, LastSpent, Text
    from ratelimit.outage.store_guard import StoreGuard

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.2
"""Between two words of what was spent."""
ALONE_TURN_SECONDS = 1.0
"""While there are no others."""
MAX_SUBJECTS = 2000
"""In one message."""
MAX_BYTES = 1024 * 1024
"""Of one entry."""
ENTRIES_PER_READ = 16
"""Messages of one read."""
MAX_READS = 8
"""As many hold all that the stream keeps."""
MAX_TURN_BYTES = 4 * MAX_BYTES
"""Of all messages of one turn."""
OLDEST = "0-0"
_MAX_SCOPES = 8
"""Of one subject."""


class SpentReport(msgspec.Struct, frozen=True, array_like=True):
    """Of one subject, as the store told it."""

    name: str
    is_source: bool
    server_us: int
    limits: tuple[int, int, int]
    scopes: dict[str, tuple[int, int, int, str, str]]
    """As `last_spent.Scope`."""

    @property
    def subject(self) -> Subject:
        """Whom it is about."""
        return Source(self.name) if self.is_source else self.name


class NewsStore(Protocol):
    async def tell(self, news: bytes, after: str) -> tuple[Sequence[bytes], str]:
        """Adds one entry, if there is any; and the first 16 that were added after the given place, with the place to go
        on from."""
        ...


class SpentNews:
    """Between `LastSpent` and the store; `others` tells whether there are any."""

    def __init__(self, store: NewsStore, guard: StoreGuard, spent: LastSpent, others: Callable[[], bool]) -> None:
        self.told = 0
        self.taken = 0
        self._store = store
        self._guard = guard
        self._spent = spent
        self._others = others
        self._after = OLDEST
        self._rare = RareLog(logger)

    async def run(self) -> None:
        """Until it is cancelled. A store that is away is left to others to complain about."""
        while True:
            if self._others():
                await asyncio.sleep(TURN_SECONDS)
            else:
                # At full seconds, when whatever else is done once a second is done: each wake-up costs cold caches.
                now_seconds = asyncio.get_running_loop().time()
                await asyncio.sleep(ALONE_TURN_SECONDS - now_seconds % ALONE_TURN_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Tells and reads once."""
        changed = self._spent.take_changed()
        if not self._others():
            return
        news = self._written(changed[-MAX_SUBJECTS:])
        try:
            told = await self._ask(news)
        except (StoreUnavailable, UnicodeDecodeError) as error:
            # Where the URL asks for text, a stranger's bytes are none.
            logger.debug("what users have spent is not told: %s", error)
            # A server that takes over may count anew.
            self._after = OLDEST
            return
        room = MAX_TURN_BYTES
        for entry in reversed(told):
            room -= len(entry)
            if room < 0:
                break
            self._take(entry)
            # Requests come first.
            await asyncio.sleep(0)

    async def _ask(self, news: bytes) -> list[bytes]:
        """What others told since they were asked last."""
        told: list[bytes] = []
        for _ in range(MAX_READS):
            entries, self._after = await self._guard.call(partial(self._store.tell, news, self._after))
            told += (entry for entry in entries if len(entry) <= MAX_BYTES)
            if len(entries) < ENTRIES_PER_READ:
                break
            news = b""
        return told

    def _written(self, subjects: Sequence[Subject]) -> bytes:
        """Those heard of last, as far as one entry takes them."""
        written: list[bytes] = []
        room = MAX_BYTES - 1
        for subject in reversed(subjects):
            heard = self._spent.get(subject)
            parts = [msgspec.json.encode(one) for one in _news_of(subject, heard)] if heard is not None else []
            room -= sum(len(part) + 1 for part in parts)
            if room < 0:
                break
            self.told += 1
            written += parts
        return b"[" + b",".join(written) + b"]" if written else b""

    def _take(self, entry: bytes) -> None:
        try:
            news = msgspec.json.decode(entry, type=list[SpentReport])
        except ValueError as error:
            self._rare.error("malformed", "what another replica told of its users cannot be read: %s", error)
            return
        for one in news[:MAX_SUBJECTS]:
            if len(one.scopes) <= _MAX_SCOPES:
                self.taken += 1
                self._spent.take(one.subject, Limits(*one.limits), one.server_us, one.scopes)


def _news_of(subject: Subject, heard: Heard) -> list[SpentReport]:
    """What was told at different times, apart: an old window must not pass for a new one."""
    is_source, limits = isinstance(subject, Source), msgspec.structs.astuple(heard.limits)
    name = subject.address if isinstance(subject, Source) else subject
    by_time: dict[int, dict[str, tuple[int, int, int, str, str]]] = {}
    for model, told in heard.scopes.items():
        scope = (*told[2:5], _plain(told.requests), _plain(told.tokens))
        by_time.setdefault(told.server_us, {})[model] = scope
    return [SpentReport(name, is_source, server_us, limits, scopes) for server_us, scopes in by_time.items()]


def _plain(text: Text) -> str:
    return text if isinstance(text, str) else text.decode("ascii", "replace")
