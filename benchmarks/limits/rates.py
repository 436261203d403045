"""Admissions per second, their latency and CPU time, by store.

memory: one call after another. Valkey: a server on loopback and one client process; every admission a call of its own,
or in batches, as in the service.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import uvloop

from benchmarks.limits.asking import USERS, Rate, admission, endless_user, rate, rate_of
from ratelimit import MemoryStore, RedisStore
from ratelimit.store.batching import BatchingLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ratelimit import Admission, Decision

CALLERS = 64
MEMORY, ONE, SINGLE, BATCHING = "memory", "Valkey, one caller", "Valkey, a call each", "Valkey, batching"
SECONDS = {ONE: 1.0, SINGLE: 1.5, BATCHING: 1.5}
WARM_UP_SHARE = 0.2
MEMORY_CALLS = 60_000


def cases(url: str, share: float) -> Iterator[tuple[str, Callable[[], Rate]]]:
    """Each measures one store once; `share` of the usual time."""
    yield MEMORY, lambda: memory(int(MEMORY_CALLS * share))
    yield ONE, lambda: valkey(url, 1, SECONDS[ONE] * share, batching=False)
    yield SINGLE, lambda: valkey(url, CALLERS, SECONDS[SINGLE] * share, batching=False)
    yield BATCHING, lambda: valkey(url, CALLERS, SECONDS[BATCHING] * share, batching=True)


def memory(calls: int) -> Rate:
    """The store alone."""
    store = MemoryStore(time.time)
    asyncio.run(create_users(store))
    asked = [admission(number) for number in range(calls)]
    times = []
    began, cpu = time.perf_counter(), time.process_time()
    for one in asked:
        started = time.perf_counter()
        store.admit(one)
        times.append(time.perf_counter() - started)
    return rate(times, time.perf_counter() - began, time.process_time() - cpu)


def valkey(url: str, callers: int, seconds: float, *, batching: bool) -> Rate:
    """In an event loop of its own, on uvloop as the service has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_valkey(url, callers, seconds, batching=batching))


async def _valkey(url: str, callers: int, seconds: float, *, batching: bool) -> Rate:
    store = RedisStore.from_url(url, timeout_seconds=5)
    await create_users(store)
    limits = BatchingLimits(store) if batching else store

    async def admit(one: Admission) -> Decision:
        answer: Awaitable[Decision] = limits.admit(one)
        return await answer

    await rate_of(admit, callers, seconds * WARM_UP_SHARE)
    measured = await rate_of(admit, callers, seconds)
    await limits.close()
    return measured


async def create_users(store: MemoryStore | RedisStore) -> None:
    """All of them, where they do not exist yet."""
    for number in range(USERS):
        await store.create(endless_user(number))
