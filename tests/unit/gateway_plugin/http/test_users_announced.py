"""Which changes of users are announced, and that a lost announcement costs nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway_plugin.http.announced import AnnouncedStore
from ratelimit import ChangeFeed, KeyStore, MemoryStore, StoreUnavailable, UserRecord, UserStore, secret_sha256
from ratelimit.store.limit_store import UserChange


class Feed:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.gone: list[str] = []
        self.away = False

    async def announce(self, user: str, *, gone: bool = False) -> None:
        if self.away:
            raise StoreUnavailable("redis:6379", "refused")
        self.told.append(user)
        if gone:
            self.gone.append(user)

    async def changes(self) -> AsyncIterator[UserChange]:
        for user in self.told:
            yield UserChange(user, user in self.gone)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def store(feed: Feed) -> AnnouncedStore:
    memory = MemoryStore(lambda: 0.0)
    # What type checkers are to confirm: all three are what the protocols say.
    checked: ChangeFeed = feed
    announced = AnnouncedStore(memory, memory, checked)
    both: tuple[UserStore, KeyStore] = (announced, announced)
    assert both
    return announced


async def test_changes_are_announced_once_they_are_made(store: AnnouncedStore, feed: Feed):
    assert await store.create(UserRecord("a"))
    assert await store.update(UserRecord("a", rpm=1))
    key = await store.create_key("a")
    assert await store.user_of_key(secret_sha256(key.secret)) == "a"
    assert await store.revoke_key("a", key.id)
    assert (await store.read("a"), await store.names(9), await store.keys("a")) == (UserRecord("a", rpm=1), ["a"], [])
    assert await store.delete("a")
    assert feed.told == ["a"] * 4
    assert feed.gone == ["a"]


async def test_what_changed_nothing_is_not_announced(store: AnnouncedStore, feed: Feed):
    await store.create(UserRecord("a"))
    feed.told.clear()
    assert not await store.create(UserRecord("a"))
    assert not await store.update(UserRecord("b"))
    assert not await store.delete("b")
    assert not await store.revoke_key("a", "1")
    assert feed.told == []


async def test_a_change_that_cannot_be_announced_is_made(
    store: AnnouncedStore, feed: Feed, caplog: pytest.LogCaptureFixture
):
    feed.away = True
    assert await store.create(UserRecord("a"))
    assert await store.read("a") == UserRecord("a")
    assert "was not announced" in caplog.text
