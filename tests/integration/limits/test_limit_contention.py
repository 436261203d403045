"""Exactly as many pass as the limit allows, however many ask at once."""

from __future__ import annotations

import asyncio
import time

from ratelimit import Cost, MemoryStore, Outcome, RedisStore, Settlement, UserRecord


async def test_exactly_the_limit_passes_on_four_clients(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10, max_connections=50) for _ in range(4)]
    await stores[0].create(UserRecord("lgy", rpm=100))
    await server.clear_of_the_edge()
    decisions = await asyncio.gather(*(store.admit("lgy", Cost()) for _ in range(50) for store in stores))
    outcomes = [decision.outcome for decision in decisions]
    assert outcomes.count(Outcome.ADMITTED) == 100
    assert outcomes.count(Outcome.REQUESTS_EXCEEDED) == 100
    assert sorted(d.requests_used for d in decisions if d.outcome is Outcome.ADMITTED) == list(range(1, 101))
    for store in stores:
        await store.close()


async def test_exactly_the_limit_passes_in_memory():
    now = time.time()
    store = MemoryStore(lambda: now)
    await store.create(UserRecord("lgy", rpm=100))

    async def client() -> int:
        admitted = 0
        for _ in range(50):
            admitted += store.admit("lgy", Cost()).outcome is Outcome.ADMITTED
            await asyncio.sleep(0)
        return admitted

    assert sum(await asyncio.gather(*(client() for _ in range(4)))) == 100


async def test_a_charge_that_many_replicas_settle_counts_once(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10) for _ in range(4)]
    await stores[0].create(UserRecord("lgy"))
    await server.clear_of_the_edge()
    batch = [Settlement("lgy", str(charge), 7) for charge in range(25)]
    assert sum(await asyncio.gather(*(store.settle_many(batch) for store in stores))) == 25
    usage = await stores[0].usage("lgy")
    assert usage is not None
    assert usage.tokens_used == 175
    for store in stores:
        await store.close()


async def test_one_of_many_creates_wins(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10) for _ in range(4)]
    created = await asyncio.gather(*(store.create(UserRecord("lgy", rpm=rpm)) for rpm, store in enumerate(stores)))
    assert sum(created) == 1
    assert await stores[0].read("lgy") == UserRecord("lgy", rpm=created.index(True))
    for store in stores:
        await store.close()
