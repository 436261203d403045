"""A real Valkey frozen, killed and restarted under load: nobody waits, nobody fails, limits hold again within 2 s."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from ratelimit import Admission, Outcome, RedisStore, Settlement, UserRecord
from ratelimit.outage.breaker import BreakerState
from ratelimit.outage.last_spent import LastSpent
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.resilience import ResilientLimits
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.users.known_users import KnownUsers
from ratelimit.users.user_cache import UserCache
from ratelimit.users.user_changes import UserChanges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.redis

LONGEST_WAIT_SECONDS = 0.1
RECOVERY_SECONDS = 2.0
REPLICAS = 2
WORKERS = 16


class Replica:
    """What stands between one gateway process and the server."""

    def __init__(self, url: str, seed: int, replicas: int = REPLICAS) -> None:
        self.store = RedisStore.from_url(url)
        batching = BatchingLimits(self.store)
        self.known = KnownUsers(time.monotonic)
        self.store.last_spent = LastSpent(time.monotonic)
        self.guard = StoreGuard(self.store.ping, time.monotonic, random.Random(seed))
        self.local = LocalLimits(
            time.monotonic, self.known, lambda: Part(replicas, seed), last_spent=self.store.last_spent
        )
        self.limits = ResilientLimits(
            batching, self.guard, self.known, self.local, time.monotonic, last_spent=self.store.last_spent
        )


@asynccontextmanager
async def replicas_of(url: str) -> AsyncIterator[list[Replica]]:
    replicas = [Replica(url, seed) for seed in range(REPLICAS)]
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.limits.close()


class Load:
    """Requests of many users at all replicas: how long each admission took, and what failed."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.waits_seconds: list[float] = []
        self.longest_lag_seconds = 0.0
        self.failures: list[Exception] = []
        self._numbers = itertools.count()
        self._tasks = [asyncio.create_task(self._work(replica)) for replica in replicas for _ in range(WORKERS)]
        self._tasks.append(asyncio.create_task(self._watch_the_machine()))

    async def _watch_the_machine(self) -> None:
        """How late this process gets its turn: what the machine, and not the limiter, adds to a wait."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest_lag_seconds = max(self.longest_lag_seconds, time.monotonic() - began - 0.01)

    async def _work(self, replica: Replica) -> None:
        while True:
            number = next(self._numbers)
            began = time.monotonic()
            try:
                await replica.limits.admit(Admission(f"u{number % 20}", f"load{number}", tokens=1))
            except Exception as error:  # noqa: BLE001 - the test names it
                self.failures.append(error)
            self.waits_seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def admitted(replicas: list[Replica], user: str, requests_each: int) -> int:
    asked = [
        replica.limits.admit(Admission(user, f"{user}{time.monotonic()}-{at}-{n}"))
        for at, replica in enumerate(replicas)
        for n in range(requests_each)
    ]
    decisions = await asyncio.gather(*asked)
    return sum(decision.outcome is Outcome.ADMITTED for decision in decisions)


async def all_told(replicas: list[Replica]) -> None:
    """Until the store knows what was admitted without it."""
    async with asyncio.timeout(20):
        while any(replica.limits.counts.queued for replica in replicas):  # noqa: ASYNC110 - what an observer would do
            await asyncio.sleep(0.01)


async def closed_again(replicas: list[Replica]) -> float:
    began = time.monotonic()
    while any(replica.limits.state is not BreakerState.CLOSED for replica in replicas):
        await asyncio.sleep(0.01)
        assert time.monotonic() - began < 10, "the store is back, and nobody noticed"
    return time.monotonic() - began


@pytest.mark.parametrize("outage", ["frozen", "killed"])
async def test_an_outage_under_load(valkey, outage):
    async with replicas_of(valkey.url) as replicas:
        store = replicas[0].store
        for name, rpm in [("lgy", 40), ("fresh", 30), *((f"u{n}", 100_000) for n in range(20))]:
            await store.create(UserRecord(name, rpm=rpm))
        assert await admitted(replicas, "lgy", 1) == 2
        load = Load(replicas)
        await asyncio.sleep(0.3)

        (valkey.freeze if outage == "frozen" else valkey.kill)()
        await asyncio.sleep(0.7)
        assert all(replica.limits.state is not BreakerState.CLOSED for replica in replicas)
        # Two were admitted before; one replica knows of both, the other may know of its own only.
        assert await admitted(replicas, "lgy", 40) in (38, 39)
        assert await replicas[1].limits.settle_many([Settlement("lgy", "spent", 77)]) == 1

        (valkey.thaw if outage == "frozen" else valkey.start)()
        assert await closed_again(replicas) <= RECOVERY_SECONDS
        await all_told(replicas)
        assert await admitted(replicas, "fresh", 30) == 30
        await load.stop()
        await all_told(replicas)
        usage = await store.usage("lgy")
    # Closing told the store of the admissions that were cancelled with the load.

    assert usage is not None
    assert usage.tokens_used == 77
    assert load.failures == []
    assert len(load.waits_seconds) > 500
    assert max(load.waits_seconds) <= LONGEST_WAIT_SECONDS + 2 * load.longest_lag_seconds
    counts = [replica.limits.counts for replica in replicas]
    assert all(count.times_opened for count in counts)
    assert [(count.queued, count.dropped) for count in counts] == [(0, 0)] * 2


async def test_a_frozen_server_keeps_no_slots_of_requests_that_ended(valkey):
    """What it finds in its sockets when it thaws are admissions whose callers have long been answered."""
    async with replicas_of(valkey.url) as replicas:
        replica = replicas[0]
        await replica.store.create(UserRecord("lgy", max_parallel=22))
        await replica.limits.admit(Admission("lgy", "first"))
        valkey.freeze()
        names = [f"c{n}" for n in range(10)]
        decisions = await asyncio.gather(*(replica.limits.admit(Admission("lgy", name)) for name in names))
        assert all(decision.outcome is Outcome.ADMITTED for decision in decisions)
        for name in (*names, "first"):
            await replica.limits.release("lgy", name)
        valkey.thaw()
        await closed_again(replicas)
        await asyncio.sleep(0.5)
        usage = await replica.store.usage("lgy")
    assert usage is not None
    assert usage.parallel == 0


async def test_changes_of_users_are_heard_after_a_restart(valkey):
    async with replicas_of(valkey.url) as replicas:
        first, second = replicas
        cache = UserCache(second.store, second.guard, second.known, time.monotonic)
        changes = UserChanges(
            second.store,
            time.monotonic,
            random.Random(1),
            changed=[cache.invalidate],
            missed=[cache.invalidate_all],
        )
        listening = asyncio.create_task(changes.run())
        await first.store.create(UserRecord("lgy", rpm=1))
        for rpm in (2, 3):
            await asyncio.sleep(0.5)
            assert await cache.get("lgy") == UserRecord("lgy", rpm=rpm - 1)
            assert cache.peek("lgy") is not None
            await first.guard.call(functools.partial(first.store.update, UserRecord("lgy", rpm=rpm)))
            await first.store.announce("lgy")
            await asyncio.sleep(0.1)
            assert cache.peek("lgy") is None
            assert await cache.get("lgy") == UserRecord("lgy", rpm=rpm)
            if rpm == 2:
                valkey.kill()
                valkey.start()
                await asyncio.sleep(0.1)
                assert cache.peek("lgy") is None
        listening.cancel()
        await asyncio.wait([listening])
