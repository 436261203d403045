"""How much a user gets over outages of the store of all kinds: `python -m benchmarks.limits.outage_bound`.

One user, whose limit is LIMIT requests a minute, asks all replicas all the time. A third of the limit is spent when the
store breaks, in one of the ways below; then it is mended, and asking goes on. All of it takes less than a minute, so
that whatever was admitted counts together. In flight is what had been asked and not yet answered when the store broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import Admission, Outcome, RedisStore, StoreUnavailable, UserRecord
from ratelimit.outage.last_spent import LastSpent
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.resilience import ResilientLimits
from ratelimit.outage.spent_news import SpentNews
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.store.urls import connect
from ratelimit.users.known_users import KnownUsers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Break = Callable[["Store"], Awaitable[None]]

LIMIT = 120
WORKERS = 3
"""Per replica; each waits for its answer before it asks again."""
BROKEN_SECONDS = 1.0
MENDED_SECONDS = 3.5


class Store:
    """A server that can be broken."""

    def __init__(self, valkey: Valkey) -> None:
        self.valkey = valkey
        self._client = connect(valkey.url, 5.0).client

    async def run(self, *words: str | int) -> None:
        """A command to the server."""
        await self._client.execute_command(*words)

    async def close(self) -> None:
        """Ends the connection."""
        await self._client.aclose()


async def killed(store: Store) -> None:
    """And started again."""
    store.valkey.kill()
    await asyncio.sleep(BROKEN_SECONDS)
    await asyncio.to_thread(store.valkey.start)


async def hanging(store: Store) -> None:
    """It keeps its connections, and answers nothing."""
    store.valkey.freeze()
    await asyncio.sleep(BROKEN_SECONDS)
    store.valkey.thaw()


async def flapping(store: Store) -> None:
    """It hangs and comes back, again and again."""
    for _ in range(4):
        store.valkey.freeze()
        await asyncio.sleep(0.3)
        store.valkey.thaw()
        await asyncio.sleep(0.2)


async def read_only(store: Store) -> None:
    """As a master that became a replica."""
    await store.run("REPLICAOF", "127.0.0.1", 1)
    await asyncio.sleep(BROKEN_SECONDS)
    await store.run("REPLICAOF", "NO", "ONE")


async def out_of_memory(store: Store) -> None:
    """It takes nothing more."""
    await store.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await store.run("CONFIG", "SET", "maxmemory", 1)
    await asyncio.sleep(BROKEN_SECONDS)
    await store.run("CONFIG", "SET", "maxmemory", 0)


async def evicting(store: Store) -> None:
    """It makes room by forgetting what has an expiry: all counters."""
    await store.run("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    for _ in range(4):
        await store.run("CONFIG", "SET", "maxmemory", 1)
        await asyncio.sleep(0.1)
        await store.run("CONFIG", "SET", "maxmemory", 0)
        await asyncio.sleep(0.2)


KINDS: dict[str, Break] = {
    "killed": killed,
    "hanging": hanging,
    "flapping": flapping,
    "read-only": read_only,
    "out of memory": out_of_memory,
    "evicting": evicting,
}


@dataclass(slots=True)
class Measured:
    """Of one outage."""

    admitted: int = 0
    in_flight: int = 0
    """When it began."""
    counted: float = 0
    """What the store says in the end."""
    failures: int = 0


class Load:
    """Asks all replicas all the time."""

    def __init__(self, url: str, replicas: int) -> None:
        self.measured = Measured()
        self.waiting = 0
        self._stores = [RedisStore.from_url(url) for _ in range(replicas)]
        self.limits = [_limits(store, Part(replicas, rank)) for rank, store in enumerate(self._stores)]
        self._news = [asyncio.create_task(_news(store, replicas).run()) for store in self._stores]
        self._numbers = itertools.count()

    async def work(self, limits: ResilientLimits, pause_seconds: float) -> None:
        """Until cancelled."""
        while True:
            self.waiting += 1
            try:
                decision = await limits.admit(Admission("lgy", f"c{next(self._numbers)}", tokens=1))
                self.measured.admitted += decision.outcome is Outcome.ADMITTED
            except Exception:  # noqa: BLE001 - counted, and a promise that there is none
                self.measured.failures += 1
            finally:
                self.waiting -= 1
            await asyncio.sleep(pause_seconds)

    async def close(self) -> None:
        """Tells what is left."""
        for task in self._news:
            task.cancel()
        await asyncio.gather(*self._news, return_exceptions=True)
        for limits in self.limits:
            await limits.close()


def _limits(store: RedisStore, part: Part) -> ResilientLimits:
    last_spent = store.last_spent = LastSpent(time.monotonic)
    known, rng = KnownUsers(time.monotonic), random.Random(part.rank)
    guard = StoreGuard(store.ping, time.monotonic, rng)
    local = LocalLimits(time.monotonic, known, lambda: part, last_spent=last_spent)
    return ResilientLimits(BatchingLimits(store), guard, known, local, time.monotonic, last_spent=last_spent)


def _news(store: RedisStore, replicas: int) -> SpentNews:
    assert store.last_spent is not None
    guard = StoreGuard(store.ping, time.monotonic, random.Random(0))
    return SpentNews(store, guard, store.last_spent, lambda: replicas > 1)


async def measure(valkey: Valkey, kind: str, replicas: int) -> Measured:
    """One outage, from its beginning to some seconds after its end. The server must be empty."""
    setting_up = RedisStore.from_url(valkey.url, timeout_seconds=5)
    await setting_up.create(UserRecord("lgy", rpm=LIMIT, tpm=10**9))
    load, store = Load(valkey.url, replicas), Store(valkey)
    # A third of the limit in the first second; asking for all of it would take three.
    pause_seconds = replicas * WORKERS * 3 / LIMIT
    tasks = [
        asyncio.create_task(load.work(limits, pause_seconds * (0.5 + worker / WORKERS)))
        for limits in load.limits
        for worker in range(WORKERS)
    ]
    await asyncio.sleep(1.0)
    load.measured.in_flight = load.waiting
    await KINDS[kind](store)
    await asyncio.sleep(MENDED_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await load.close()
    with contextlib.suppress(StoreUnavailable):
        await setting_up.ping()  # its connection may be that of a server before
    usage = await setting_up.usage("lgy")
    load.measured.counted = usage.requests_used if usage is not None else 0
    await store.close()
    await setting_up.close()
    return load.measured


async def main() -> None:
    """All outages, with one replica and with four."""
    print(f"limit {LIMIT} a minute; admitted over the outage (in flight when it began)")
    for kind in KINDS:
        found = []
        for replicas in (1, 4):
            with tempfile.TemporaryDirectory() as directory:
                async with Valkey(Path(directory), keeps=True) as valkey:
                    measured = await measure(valkey, kind, replicas)
            found.append(f"{replicas} replicas: {measured.admitted} ({measured.in_flight})")
        print(f"{kind:14} {'   '.join(found)}")


if __name__ == "__main__":
    asyncio.run(main())
