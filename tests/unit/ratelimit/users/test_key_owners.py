"""Whose keys are: what is remembered, for how long, and how many made-up keys the store is asked for."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit import StoreUnavailable
from ratelimit.users.key_owners import KeyOwners, LookUpBounds, TooManyUnknownKeys


class Store:
    """Knows owners; counts who asks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.owners = {"k": "lgy"}
        self.asked: list[str] = []
        self.is_away = False

    async def look_up(self, key: str) -> str | None:
        self.asked.append(key)
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("store", "away")
        return self.owners.get(key)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def owners(store: Store) -> KeyOwners:
    return KeyOwners(store.look_up, lambda: store.now, LookUpBounds(per_source=1, total=3))


async def test_answers_hold_for_seconds(store: Store, owners: KeyOwners):
    for key, owner in (("k", "lgy"), ("x", None)):
        assert [await owners.owner_of(key, "a") for _ in range(3)] == [owner] * 3
    assert store.asked == ["k", "x"]
    store.now = 5.0
    store.owners = {"x": "kim"}
    assert await owners.owner_of("k", "a") is None, "a key that was revoked unheard works for 5 s"
    assert await owners.owner_of("x", "a") == "kim"


async def test_a_change_that_is_announced_holds_at_once(store: Store, owners: KeyOwners):
    assert await owners.owner_of("k", "a") == "lgy"
    store.owners.clear()
    owners.forget("kim")
    assert await owners.owner_of("k", "a") == "lgy"
    owners.forget("lgy")
    assert await owners.owner_of("k", "a") is None


async def test_what_was_read_before_a_change_is_not_remembered(store: Store, owners: KeyOwners):
    reading = asyncio.ensure_future(owners.owner_of("k", "a"))
    await asyncio.sleep(0)
    owners.forget("lgy")
    assert await reading == "lgy"
    store.owners.clear()
    assert await owners.owner_of("k", "a") is None


async def test_the_last_known_owner_stands_while_the_store_is_away(store: Store, owners: KeyOwners):
    await owners.owner_of("k", "a")
    store.is_away, store.now = True, 60.0
    assert await owners.owner_of("k", "a") == "lgy"
    with pytest.raises(StoreUnavailable):
        await owners.owner_of("x", "a")
    owners.forget("lgy")
    with pytest.raises(StoreUnavailable):
        await owners.owner_of("k", "a")


async def test_made_up_keys_are_asked_for_within_bounds(store: Store, owners: KeyOwners):
    await owners.owner_of("k", "good")
    refused = 0
    for number in range(100):
        try:
            await owners.owner_of(f"x{number}", "bad")
        except TooManyUnknownKeys:
            refused += 1
    assert (refused, len(store.asked)) == (90, 11), "ten seconds' worth of the source"
    store.now = 6.0
    assert await owners.owner_of("k", "bad") == "lgy", "a key that was somebody's lately is asked for as before"
    assert await owners.owner_of("y", "good") is None, "and so is anybody else's"
    for source in range(100):
        for number in range(10):
            try:
                await owners.owner_of(f"{source}-{number}", str(source))
            except TooManyUnknownKeys:
                refused += 1
    assert len(store.asked) <= 13 + 30, "and all sources together"


async def test_questions_at_the_same_time_are_one(store: Store, owners: KeyOwners):
    answers = await asyncio.gather(*(owners.owner_of("k", "a") for _ in range(50)))
    assert (set(answers), store.asked) == ({"lgy"}, ["k"])


async def test_what_is_held_is_bounded(store: Store):
    owners = KeyOwners(store.look_up, lambda: store.now, LookUpBounds(1e9, 1e9))
    for number in range(20_500):
        await owners.owner_of(f"x{number}", str(number))
    assert len(owners._nobodys) == len(owners._sources) == 10_000
