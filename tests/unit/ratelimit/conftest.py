"""A remote store that can be switched off: refusing, silent, or slow; virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from ratelimit import AIBRIX_DEFAULTS, Admission, MemoryStore, StoreUnavailable
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.resilience import ResilientLimits, StoreDown
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.store.limit_store import Replay
from ratelimit.users.known_users import KnownUsers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit import Decision, Settlement, Subject, Usage, UserRecord
    from ratelimit.store.limit_store import Answer
    from ratelimit.windows.decision import Report


def now() -> float:
    return asyncio.get_running_loop().time()


class Remote:
    """A `BatchStore` and `UserStore`; `mode` is "up", "refusing" or "silent". What it hears it may do, and not say."""

    def __init__(self) -> None:
        self.mode = "up"
        self.hears_while_silent = False
        self.store = MemoryStore(now)
        self.calls: list[str] = []
        self.reports: list[Report] = []
        self.closed = False
        self.pings_under_way = 0

    async def _edge(self, call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0.001)
        if self.mode == "refusing":
            raise StoreUnavailable("remote", "connection refused")

    async def _silence(self) -> None:
        if self.mode == "silent":
            await asyncio.sleep(3600)

    async def admit(self, admission: Admission) -> Decision:
        await self._edge("admit")
        if self.hears_while_silent:
            self.store.admit(admission)
        await self._silence()
        return self.store.admit(admission)

    async def admit_many(self, admissions: Sequence[Admission]) -> list[Answer]:
        return list(await asyncio.gather(*map(self.admit, admissions)))

    async def settle(self, settlement: Settlement) -> bool:
        return await self.settle_many([settlement]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        await self._edge("settle")
        await self._silence()
        return await self.store.settle_many(settlements)

    async def replay_many(self, replays: Sequence[Replay]) -> None:
        await self._edge("replay")
        await self._silence()
        for replay in replays:
            self.store.replay(replay)

    async def report_many(self, reports: Sequence[Report]) -> None:
        """What was let in under leases is booked as if it had been let in while the store was away."""
        await self._edge("report")
        await self._silence()
        self.reports += reports
        for report in reports:
            for one in report.charges.values():
                self.store.replay(Replay(one.admission, one.reserved, now() - one.at_seconds))

    async def release(self, subject: Subject, charge_id: str) -> None:
        await self._edge("release")
        await self._silence()
        self.store.release(subject, charge_id)

    async def usage(self, user: str) -> Usage | None:
        await self._edge("usage")
        await self._silence()
        return await self.store.usage(user)

    async def read(self, name: str) -> UserRecord | None:
        await self._edge("read")
        await self._silence()
        return await self.store.read(name)

    async def create(self, record: UserRecord) -> bool:
        return await self.store.create(record)

    async def update(self, record: UserRecord) -> bool:
        return await self.store.update(record)

    async def delete(self, name: str) -> bool:
        return await self.store.delete(name)

    async def names(self, limit: int) -> list[str]:
        return await self.store.names(limit)

    async def ping(self) -> None:
        self.pings_under_way += 1
        try:
            await self._edge("ping")
            await self._silence()
        finally:
            self.pings_under_way -= 1

    async def close(self) -> None:
        self.closed = True


class World:
    """Everything around one remote store. `replicas` may be changed."""

    def __init__(self, policy: StoreDown = StoreDown.LOCAL) -> None:
        self.remote = Remote()
        self.replicas = 1
        self.known = KnownUsers(now)
        self.guard = StoreGuard(self.remote.ping, now, random.Random(1))
        self.local = LocalLimits(now, self.known, lambda: Part(self.replicas), AIBRIX_DEFAULTS)
        self.limits = ResilientLimits(BatchingLimits(self.remote), self.guard, self.known, self.local, now, policy)
        self._charges = 0

    async def admit(self, user: str = "lgy", **changes: object) -> Decision:
        self._charges += 1
        return await self.limits.admit(Admission(user, f"c{self._charges}", **changes))  # type: ignore[arg-type]

    async def break_store(self, mode: str = "refusing") -> None:
        """Until the breaker has opened."""
        self.remote.mode = mode
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await self.guard.call(self.remote.ping)


@pytest.fixture
async def new_world():
    """Worlds of any policy, closed in the end."""
    worlds: list[World] = []

    def new(policy: StoreDown = StoreDown.LOCAL) -> World:
        worlds.append(World(policy))
        return worlds[-1]

    yield new
    for world in worlds:
        await world.limits.close()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()
