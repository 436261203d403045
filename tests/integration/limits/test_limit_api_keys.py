from __future__ import annotations

import asyncio
import contextlib
import re
import time

import msgspec
import pytest

from ratelimit import NoSuchUser, TooManyKeys, UserRecord, secret_sha256


async def test_a_key_belongs_to_its_user_and_is_shown_once(store):
    await store.create(UserRecord("用户 {x}"))
    new = await store.create_key("用户 {x}", "laptop of\nkim")
    assert re.fullmatch(r"gw-[A-Za-z0-9_-]{43}", new.secret)
    (listed,) = await store.keys("用户 {x}")
    assert (listed.id, listed.label, listed.prefix) == (new.id, "laptop of\nkim", new.secret[:7])
    assert abs(listed.created_at - time.time()) < 60
    assert new.secret not in repr(listed)
    assert await store.user_of_key(secret_sha256(new.secret)) == "用户 {x}"
    assert await store.user_of_key(secret_sha256("gw-other")) is None


async def test_a_revoked_key_is_nobodys_and_the_others_stay(store):
    await store.create(UserRecord("lgy"))
    first, second = await store.create_key("lgy"), await store.create_key("lgy", "second")
    assert not await store.revoke_key("kim", first.id)
    assert await store.revoke_key("lgy", first.id)
    assert not await store.revoke_key("lgy", first.id)
    assert await store.user_of_key(secret_sha256(first.secret)) is None
    assert await store.user_of_key(secret_sha256(second.secret)) == "lgy"
    assert [key.label for key in await store.keys("lgy")] == ["second"]


async def test_a_key_is_nobodys_when_it_has_expired(store):
    await store.create(UserRecord("lgy"))
    ends = int(time.time()) + 3
    short, long = await store.create_key("lgy", "a b", ends), await store.create_key("lgy", "", ends + 3600)
    assert {key.expires_at for key in await store.keys("lgy")} == {ends, ends + 3600}
    assert await store.user_of_key(secret_sha256(short.secret)) == "lgy"
    await asyncio.sleep(ends - time.time() + 0.2)
    assert await store.user_of_key(secret_sha256(short.secret)) is None
    assert await store.user_of_key(secret_sha256(long.secret)) == "lgy"
    assert not await store.expire_key("lgy", short.id, ends + 3600), "what is over does not begin again"
    assert await store.revoke_key("lgy", short.id)


async def test_a_key_may_be_given_an_end(store):
    await store.create(UserRecord("lgy"))
    new = await store.create_key("lgy", "a b")
    ends = int(time.time()) + 3600
    assert await store.expire_key("lgy", new.id, ends)
    (listed,) = await store.keys("lgy")
    assert (listed.expires_at, listed.label, listed.prefix) == (ends, "a b", new.secret[:7])
    assert await store.user_of_key(secret_sha256(new.secret)) == "lgy"
    assert await store.expire_key("lgy", new.id, int(time.time()) - 1)
    assert await store.user_of_key(secret_sha256(new.secret)) is None
    assert not await store.expire_key("lgy", "other", ends)
    assert not await store.expire_key("kim", new.id, ends)


async def test_the_keys_of_a_deleted_user_are_gone(store):
    for name in ("lgy", "kim"):
        await store.create(UserRecord(name))
    new, other = await store.create_key("lgy"), await store.create_key("kim")
    assert await store.delete("lgy")
    assert await store.keys("lgy") == []
    assert await store.user_of_key(secret_sha256(new.secret)) is None
    assert await store.user_of_key(secret_sha256(other.secret)) == "kim"


async def test_a_user_has_a_hundred_keys_at_most(store):
    await store.create(UserRecord("lgy"))
    for _ in range(100):
        await store.create_key("lgy")
    with pytest.raises(TooManyKeys, match="'lgy' has 100 keys"):
        await store.create_key("lgy")
    assert len(await store.keys("lgy")) == 100


async def test_only_users_who_exist_have_keys(store):
    with pytest.raises(NoSuchUser):
        await store.create_key("nobody")
    assert await store.keys("nobody") == []


async def test_no_key_outlives_its_user_however_they_race(store):
    """Keys are made while their user is deleted and made again: a key that works is listed, and so can be revoked."""
    made: list[str] = []

    async def make() -> None:
        with contextlib.suppress(NoSuchUser):
            made.append((await store.create_key("lgy")).secret)

    for _ in range(30):
        await store.create(UserRecord("lgy"))
        await asyncio.gather(make(), store.delete("lgy"), make(), store.create(UserRecord("lgy")), make())
        await store.delete("lgy")
        assert [await store.user_of_key(secret_sha256(secret)) for secret in made] == [None] * len(made)
        made.clear()


async def test_changes_at_the_same_time_are_none_lost(store):
    await store.create(UserRecord("lgy"))

    async def allow(model: str) -> None:
        assert await store.change("lgy", lambda old: msgspec.structs.replace(old, models=(*old.models, model)))

    names = [f"m{number}" for number in range(8)]
    await asyncio.gather(*(allow(name) for name in names))
    record = await store.read("lgy")
    assert record is not None
    assert sorted(record.models) == names
    assert await store.change("nobody", lambda old: old) is None
