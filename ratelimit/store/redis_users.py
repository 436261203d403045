"""User records and API keys on a Redis or Valkey server. Records are AIBrix's own (`keys`).

    <counters' prefix>:keys    hash: key id -> "<created at> <SHA-256> <prefix>[@<expires at>] <label>"; the user's slot
    gateway-keys/<SHA-256>     the user's name, with the key's expiry; a slot of its own

A key is listed before it works and stops working before it is unlisted, so that every key that works can be revoked.
The list is in the record's slot, so that only a user who exists has one. Whether the key is still listed when it begins
to work is looked at once more: the user may have been deleted meanwhile. Until then it works for seconds only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from ratelimit.store.limit_store import StoreUnavailable
from ratelimit.store.redis_edge import RedisEdge, text
from ratelimit.store.redis_keys import RECORD_PREFIX, counter_prefix, record_key, secret_key
from ratelimit.store.scripts import Script, run
from ratelimit.users.api_keys import (
    MAX_LABEL_CHARACTERS,
    ApiKey,
    NewKey,
    NoSuchUser,
    TooManyKeys,
    new_key,
    secret_sha256,
    shown_prefix,
)
from ratelimit.users.users import CorruptUserRecord, UserRecord, decode_record, encode_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.cluster import ClusterNode

_DELETE, _ADD_KEY, _REPLACE = Script("delete.lua"), Script("add_key.lua"), Script("replace.lua")
_UNCONFIRMED_SECONDS = 30
"""Until a new key is confirmed; one that never is, is gone."""
_MAX_TRIES = 20
"""At a user that others change at the same moment."""
_SCAN_COUNT = 1000


class RedisUsers(RedisEdge):
    """`UserStore`."""

    async def create(self, record: UserRecord) -> bool:
        key = record_key(record.name)
        async with self._edge():
            return bool(await self._client.set(key, encode_record(record), nx=True))

    async def read(self, name: str) -> UserRecord | None:
        key = record_key(name)
        async with self._edge():
            raw = await self._raw(key)
        return None if raw is None else decode_record(raw, key)

    async def _raw(self, key: str) -> bytes | str | None:
        try:
            raw: bytes | str | None = await self._client.get(key)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise CorruptUserRecord(key) from None
            raise
        return raw

    async def update(self, record: UserRecord) -> bool:
        key = record_key(record.name)
        async with self._edge():
            return bool(await self._client.set(key, encode_record(record), xx=True))

    async def change(self, name: str, change: Callable[[UserRecord], UserRecord]) -> UserRecord | None:
        key = record_key(name)
        for _ in range(_MAX_TRIES):
            async with self._edge():
                raw = await self._raw(key)
                if raw is None:
                    return None
                record = change(decode_record(raw, key))
                if await run(self._client, _REPLACE.call((key,), (text(raw), encode_record(record).decode()))):
                    return record
        raise StoreUnavailable(self.address, f"the record of {name!r} is changed too often")

    async def delete(self, name: str) -> bool:
        key = record_key(name)
        prefix = counter_prefix(key)
        async with self._edge():
            await self._forget_secrets(await self._client.hvals(f"{prefix}:keys"))
            existed, listed = await run(self._client, _DELETE.call((key, prefix)))
            await self._forget_secrets(listed)  # of keys that were made meanwhile
        return bool(existed)

    async def _forget_secrets(self, listed: Sequence[bytes | str]) -> None:
        for value in listed:
            await self._client.delete(secret_key(_key_fields(value)[1]))

    async def names(self, limit: int) -> list[str]:
        """Walks the whole key space in steps, each with its own timeout, until `limit` names are found."""
        found: set[str] = set()
        if limit > 0:
            async for keys in self._scan():
                found.update(text(key).removeprefix(RECORD_PREFIX) for key in keys)
                if len(found) >= limit:
                    break
        return sorted(found)[:limit]

    async def _scan(self) -> AsyncIterator[list[bytes | str]]:
        for node in await self._nodes():
            cursor = None
            while cursor != 0:
                async with self._edge():
                    cursor, keys = await node.execute_command(
                        "SCAN", cursor or 0, "MATCH", f"{RECORD_PREFIX}*", "COUNT", _SCAN_COUNT
                    )
                yield keys

    async def _nodes(self) -> Sequence[Redis | ClusterNode]:
        """Every server that holds records."""
        if not isinstance(self._client, RedisCluster):
            return [self._client]
        async with self._edge():
            await self._client.initialize()
        return self._client.get_primaries()


class RedisKeys(RedisEdge):
    """`KeyStore`."""

    async def create_key(self, user: str, label: str = "", expires_at: int | None = None) -> NewKey:
        listed_at, new = _list_key(user), new_key()
        sha256 = secret_sha256(new.secret)
        prefix = _with_expiry(shown_prefix(new.secret), expires_at)
        fields = " ".join((sha256, prefix, label[:MAX_LABEL_CHARACTERS]))
        async with self._edge():
            added = await run(self._client, _ADD_KEY.call((listed_at, record_key(user)), (new.id, fields)))
            if added < 0:
                raise NoSuchUser(user)
            if not added:
                raise TooManyKeys(user)
            await self._client.set(secret_key(sha256), user, ex=_UNCONFIRMED_SECONDS)
            if not await self._client.hexists(listed_at, new.id):
                await self._client.delete(secret_key(sha256))
                raise NoSuchUser(user)
            if expires_at is None:
                await self._client.persist(secret_key(sha256))
            else:
                await self._client.expireat(secret_key(sha256), expires_at)
        return new

    async def expire_key(self, user: str, key_id: str, expires_at: int) -> bool:
        listed_at = _list_key(user)
        async with self._edge():
            value = await self._client.hget(listed_at, key_id)
            if value is None:
                return False
            created_at, sha256, prefix, label = _key_fields(value)
            # What is listed as expiring does expire; the other way round would be a promise.
            if not await self._client.expireat(secret_key(sha256), expires_at):
                return False
            prefix = _with_expiry(prefix.partition("@")[0], expires_at)
            await self._client.hset(listed_at, key_id, " ".join((created_at, sha256, prefix, label)))
            return True

    async def keys(self, user: str) -> list[ApiKey]:
        listed_at = _list_key(user)
        async with self._edge():
            listed = await self._client.hgetall(listed_at)
        return sorted((_api_key(text(key_id), value) for key_id, value in listed.items()), key=_age)

    async def revoke_key(self, user: str, key_id: str) -> bool:
        listed_at = _list_key(user)
        async with self._edge():
            value = await self._client.hget(listed_at, key_id)
            if value is None:
                return False
            await self._client.delete(secret_key(_key_fields(value)[1]))
            return bool(await self._client.hdel(listed_at, key_id))

    async def user_of_key(self, secret_sha256: str) -> str | None:
        async with self._edge():
            user = await self._client.get(secret_key(secret_sha256))
        return None if user is None else text(user)


def _list_key(user: str) -> str:
    return f"{counter_prefix(record_key(user))}:keys"


def _key_fields(value: bytes | str) -> list[str]:
    return text(value).split(" ", 3)


def _api_key(key_id: str, value: bytes | str) -> ApiKey:
    created_at, _, shown, label = _key_fields(value)
    prefix, _, expires_at = shown.partition("@")
    return ApiKey(key_id, label, float(created_at), prefix, int(expires_at) if expires_at.isdecimal() else None)


def _with_expiry(prefix: str, expires_at: int | None) -> str:
    return prefix if expires_at is None else f"{prefix}@{expires_at}"


def _age(key: ApiKey) -> tuple[float, str]:
    return key.created_at, key.id
