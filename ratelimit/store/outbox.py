"""What a remote store has to be told once it can be: admissions that were decided without it, settlements, and the
parallel slots that exchanges gave back.

Kept while the store is away, told as soon as its guard lets calls pass again. Each may be told twice, or before the
admission that it ends: all verbs are idempotent. What waited longer than a window is passed over: had the store been
there, it would not count any more either. But what an exchange cost beyond its reservation is debt, which lasts: it
waits for as long as an admission does for its settlement, and is owed from when it is told. A slot would be held for an
hour, so a release waits that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ratelimit.outage.breaker import BreakerState
from ratelimit.store.backlog import Backlog
from ratelimit.store.limit_store import PARALLEL_SECONDS, RESERVATION_SECONDS, ItemRefused, Replay, StoreUnavailable
from ratelimit.windows.spending import BUCKET_SECONDS, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ratelimit.outage.store_guard import StoreGuard
    from ratelimit.store.limit_store import LimitStore
    from ratelimit.windows.decision import Admission, Settlement

    class Store(LimitStore, Protocol):
        """What is told, and of what is asked nothing."""

        async def replay_many(self, replays: Sequence[Replay]) -> None: ...

    from ratelimit.users.subjects import Subject

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Small enough to be answered well within one deadline.
SETTLEMENTS_PER_CALL = 100
_REPLAYS_PER_CALL = 20
"""Admissions that are told after an outage, so that no script holds Redis up."""
_BREATH_SECONDS = 0.005
"""Between two such calls, and twice as long as one took."""
_RELEASES_PER_CALL = 16
"""Slots given back with one script."""
MAX_ADMISSIONS = 50_000
"""Some 15 MB. A replica that decides more of them in a minute without the store tells it of the last."""
_RETRY_SECONDS = 0.1
"""Until a store that failed is asked again."""
_LAST_WORDS_SECONDS = 0.5
"""For what is left to tell when the process ends."""


class Admitted(NamedTuple):
    admission: Admission
    reserved: int
    at_seconds: float


class Release(NamedTuple):
    subject: Subject
    charge_id: str


class Outbox:
    """`clock` is monotonic; `guard` guards `store`."""

    def __init__(self, store: Store, guard: StoreGuard, clock: Callable[[], float]) -> None:
        self._store = store
        self._guard = guard
        self._settlements: Backlog[Settlement] = Backlog(clock, max_age_seconds=WINDOW_SECONDS + BUCKET_SECONDS)
        self._owing: Backlog[Settlement] = Backlog(clock, max_age_seconds=RESERVATION_SECONDS)
        self._admissions: Backlog[Admitted] = Backlog(
            clock, max_age_seconds=WINDOW_SECONDS + BUCKET_SECONDS, max_items=MAX_ADMISSIONS
        )
        self._clock = clock
        self._releases: Backlog[Release] = Backlog(clock, max_age_seconds=PARALLEL_SECONDS)
        self._backlogs: tuple[Backlog[Any], ...] = (self._admissions, self._settlements, self._owing, self._releases)
        self._telling: asyncio.Task[None] | None = None
        self._closing = False
        self._under_way = 0
        guard.recovered.append(self._start)

    def __len__(self) -> int:
        return sum(len(backlog) for backlog in self._backlogs)

    @property
    def admissions(self) -> int:
        """How many the store does not know of yet."""
        return len(self._admissions) + self._under_way

    @property
    def dropped(self) -> int:
        return sum(backlog.dropped for backlog in self._backlogs)

    @property
    def expired(self) -> int:
        return sum(backlog.expired for backlog in self._backlogs)

    def admitted(self, admission: Admission, reserved: int, at_seconds: float | None = None) -> None:
        """Without the store, which has to count it; now, where no time is named."""
        at_seconds = self._clock() if at_seconds is None else at_seconds
        self._admissions.put([Admitted(admission, reserved, at_seconds)])
        self._start()

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self._owing.put(one for one in settlements if one.tokens > one.reserved)
        self._settlements.put(one for one in settlements if one.tokens <= one.reserved)
        self._start()

    def release(self, release: Release) -> None:
        self._releases.put([release])
        self._start()

    async def close(self) -> None:
        """Tells what is left, if that is quickly done."""
        self._closing = True
        if self._telling is not None:
            if self._guard.state is BreakerState.CLOSED:
                await asyncio.wait([self._telling], timeout=_LAST_WORDS_SECONDS)
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling
        if self:
            logger.warning("%d settlements and releases were never told to the limit store", len(self))

    def _start(self) -> None:
        """While the store is away there is nothing to start: its return does."""
        running = self._telling is not None and not self._telling.done()
        if self and not running and not self._closing and self._guard.state is BreakerState.CLOSED:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self and self._guard.state is BreakerState.CLOSED:
            try:
                began = self._clock()
                await self._tell_some(self._admissions, _REPLAYS_PER_CALL, self._replay)
                if self._admissions:
                    # A server that has just come back has requests to answer, which come first: a third of its time.
                    await asyncio.sleep(max(_BREATH_SECONDS, 2 * (self._clock() - began)))
                for settlements in (self._owing, self._settlements):
                    await self._tell_some(settlements, SETTLEMENTS_PER_CALL, self._store.settle_many)
                await self._tell_some(self._releases, _RELEASES_PER_CALL, self._release_all)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _tell_some(
        self, backlog: Backlog[T], max_items: int, verb: Callable[[Sequence[T]], Awaitable[object]]
    ) -> None:
        taken = backlog.take(max_items)
        if not taken:
            return
        try:
            await self._guard.call(lambda: verb([item for _, item in taken]))
        except (StoreUnavailable, asyncio.CancelledError):
            backlog.put_back(taken)
            raise
        except Exception:
            # It would go wrong again, and keep the others from being told.
            backlog.dropped += len(taken)
            logger.exception("%d settlements or releases were refused by the limit store", len(taken))

    async def _replay(self, admitted: Sequence[Admitted]) -> None:
        self._under_way = len(admitted)
        try:
            now = self._clock()
            replays = [Replay(one.admission, one.reserved, now - one.at_seconds) for one in admitted]
            await self._store.replay_many(replays)
        finally:
            self._under_way = 0

    async def _release_all(self, releases: Sequence[Release]) -> None:
        await asyncio.gather(*map(self._release, releases))

    async def _release(self, release: Release) -> None:
        try:
            answer = self._store.release(*release)
            if inspect.isawaitable(answer):
                await answer
        except ItemRefused:
            self._releases.dropped += 1
