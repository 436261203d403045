from __future__ import annotations

import re
import time

import pytest

from ratelimit import TooManyKeys, UserRecord, secret_sha256


async def test_a_key_belongs_to_its_user_and_is_shown_once(store):
    new = await store.create_key("用户 {x}", "laptop of\nkim")
    assert re.fullmatch(r"gw-[A-Za-z0-9_-]{43}", new.secret)
    (listed,) = await store.keys("用户 {x}")
    assert (listed.id, listed.label, listed.prefix) == (new.id, "laptop of\nkim", new.secret[:7])
    assert abs(listed.created_at - time.time()) < 60
    assert new.secret not in repr(listed)
    assert await store.user_of_key(secret_sha256(new.secret)) == "用户 {x}"
    assert await store.user_of_key(secret_sha256("gw-other")) is None


async def test_a_revoked_key_is_nobodys_and_the_others_stay(store):
    first, second = await store.create_key("lgy"), await store.create_key("lgy", "second")
    assert not await store.revoke_key("kim", first.id)
    assert await store.revoke_key("lgy", first.id)
    assert not await store.revoke_key("lgy", first.id)
    assert await store.user_of_key(secret_sha256(first.secret)) is None
    assert await store.user_of_key(secret_sha256(second.secret)) == "lgy"
    assert [key.label for key in await store.keys("lgy")] == ["second"]


async def test_the_keys_of_a_deleted_user_are_gone(store):
    await store.create(UserRecord("lgy"))
    new, other = await store.create_key("lgy"), await store.create_key("kim")
    assert await store.delete("lgy")
    assert await store.keys("lgy") == []
    assert await store.user_of_key(secret_sha256(new.secret)) is None
    assert await store.user_of_key(secret_sha256(other.secret)) == "kim"


async def test_a_user_has_a_hundred_keys_at_most(store):
    for _ in range(100):
        await store.create_key("lgy")
    with pytest.raises(TooManyKeys, match="'lgy' has 100 keys"):
        await store.create_key("lgy")
    assert len(await store.keys("lgy")) == 100
