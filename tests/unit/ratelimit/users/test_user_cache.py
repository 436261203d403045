"""How long records are fresh, how often the store is asked, and what is answered when it is away."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit import Admission, StoreUnavailable, UserRecord
from ratelimit.users.user_cache import UserCache

pytestmark = pytest.mark.looptime

LGY = UserRecord("lgy", rpm=3, models=("m",))


@pytest.fixture
async def cache(world) -> UserCache:
    await world.remote.create(LGY)
    return UserCache(world.remote, world.guard, world.known, asyncio.get_running_loop().time)


async def test_a_record_is_read_once_in_five_seconds(world, cache):
    for _ in range(10):
        assert await cache.get("lgy") == LGY
        await asyncio.sleep(0.49)
    assert world.remote.calls == ["read"]
    await world.remote.update(UserRecord("lgy", rpm=4))
    await asyncio.sleep(0.2)
    assert await cache.get("lgy") == UserRecord("lgy", rpm=4)
    assert world.remote.calls == ["read"] * 2


async def test_that_there_is_no_such_user_holds_for_a_second(world, cache):
    assert await cache.get("ann") is None
    await world.remote.create(UserRecord("ann"))
    await asyncio.sleep(0.9)
    assert await cache.get("ann") is None
    await asyncio.sleep(0.2)
    assert await cache.get("ann") == UserRecord("ann")


async def test_concurrent_questions_are_one_read_and_a_cancelled_one_ends_only_itself(world, cache):
    tasks = [asyncio.ensure_future(cache.get("lgy")) for _ in range(50)]
    await asyncio.sleep(0.0005)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [LGY] * 49
    assert world.remote.calls == ["read"]
    assert repr(cache) == "UserCache(1 users, 0 reads)"


async def test_peek_answers_at_once_or_not_at_all(cache):
    assert cache.peek("lgy") is None
    await cache.get("lgy")
    assert cache.peek("lgy").record == LGY
    cache.invalidate("lgy")
    assert cache.peek("lgy") is None


async def test_what_is_read_while_a_change_is_announced_is_not_kept(world, cache):
    task = asyncio.ensure_future(cache.get("lgy"))
    await asyncio.sleep(0.0005)
    cache.invalidate("lgy")
    await task
    assert cache.peek("lgy") is None
    await cache.get("lgy")
    cache.invalidate_all()
    await asyncio.sleep(0.001)
    cache.invalidate_all()
    assert cache.peek("lgy") is None
    await cache.get("lgy")
    assert cache.peek("lgy") is not None
    assert world.remote.calls == ["read"] * 3


@pytest.mark.parametrize("mode", ["refusing", "silent"])
async def test_the_last_known_record_stands_while_the_store_is_away(world, cache, mode):
    await cache.get("lgy")
    await cache.get("ann")
    world.remote.mode = mode
    await asyncio.sleep(60)
    for _ in range(10):
        began = now()
        assert await cache.get("lgy") == LGY
        assert await cache.get("ann") is None
        assert now() - began <= 0.052
    with pytest.raises(StoreUnavailable):
        await cache.get("never seen")
    cache.invalidate("lgy")
    assert await cache.get("lgy") == LGY
    await asyncio.sleep(3540)
    with pytest.raises(StoreUnavailable):
        await cache.get("lgy")


async def test_what_admissions_taught_is_not_taken_for_a_record(world, cache):
    await world.limits.admit(Admission("lgy", "a"))
    assert world.known.get("lgy") is not None
    assert cache.peek("lgy") is None
    assert await cache.get("lgy") == LGY


async def test_a_read_and_an_admission_together_end_within_100_ms_when_the_store_freezes(world, cache, looptime):
    world.remote.mode = "silent"
    with pytest.raises(StoreUnavailable):
        await cache.get("lgy")
    await world.limits.admit(Admission("lgy", "a"))
    assert looptime <= 0.08


def now() -> float:
    return asyncio.get_running_loop().time()
