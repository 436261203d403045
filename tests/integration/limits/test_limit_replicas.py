"""Replicas that share a store know how many they are."""

from __future__ import annotations

from ratelimit import RedisStore, StoreUnavailable
from ratelimit.outage.replicas import GONE_SECONDS, Replicas


async def test_replicas_are_counted_and_forgotten(server):
    server.clear()
    store = RedisStore.from_url(server.url)
    assert [await store.beat(name) for name in ("a", "b", "a")] == [(1, 0), (2, 1), (2, 0)]
    with server.client() as raw:
        raw.zadd("gateway:replicas", {"b": raw.time()[0] - GONE_SECONDS - 1})
        raw.zadd("gateway:replicas", {"stranger": raw.time()[0] + 1000})
    assert await store.beat("a") == (1, 0)
    await store.close()


async def test_the_last_number_stays_while_the_store_is_away():
    class Store:
        def __init__(self) -> None:
            self.answers: list[int | None] = [3, None, 2]

        async def beat(self, replica: str) -> tuple[int, int]:
            answer = self.answers.pop(0)
            if answer is None:
                raise StoreUnavailable("redis", "gone")
            return answer, 0

    replicas = Replicas(Store(), "a")
    seen = []
    for _ in range(3):
        await replicas._beat()
        seen.append(replicas.seen)
    assert seen == [3, 3, 2]
