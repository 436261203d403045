"""A store of users and keys that tells all replicas of each change, so that what they remember is not used any longer.

A change that was made but could not be announced is made all the same: what replicas remember ages within seconds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ratelimit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit import ApiKey, ChangeFeed, KeyStore, NewKey, UserRecord, UserStore

logger = logging.getLogger(__name__)


class AnnouncedStore:
    """`UserStore` and `KeyStore` over others of their kind."""

    def __init__(self, users: UserStore, keys: KeyStore, feed: ChangeFeed) -> None:
        self._users = users
        self._keys = keys
        self._feed = feed

    async def create(self, record: UserRecord) -> bool:
        return await self._told(record.name, changed=await self._users.create(record))

    async def read(self, name: str) -> UserRecord | None:
        return await self._users.read(name)

    async def update(self, record: UserRecord) -> bool:
        return await self._told(record.name, changed=await self._users.update(record))

    async def change(self, name: str, change: Callable[[UserRecord], UserRecord]) -> UserRecord | None:
        record = await self._users.change(name, change)
        await self._told(name, changed=record is not None)
        return record

    async def delete(self, name: str) -> bool:
        return await self._told(name, changed=await self._users.delete(name), gone=True)

    async def names(self, limit: int) -> list[str]:
        return await self._users.names(limit)

    async def create_key(self, user: str, label: str = "", expires_at: int | None = None) -> NewKey:
        return await self._keys.create_key(user, label, expires_at)

    async def expire_key(self, user: str, key_id: str, expires_at: int) -> bool:
        return await self._told(user, changed=await self._keys.expire_key(user, key_id, expires_at))

    async def keys(self, user: str) -> list[ApiKey]:
        return await self._keys.keys(user)

    async def revoke_key(self, user: str, key_id: str) -> bool:
        return await self._told(user, changed=await self._keys.revoke_key(user, key_id))

    async def user_of_key(self, secret_sha256: str) -> str | None:
        return await self._keys.user_of_key(secret_sha256)

    async def _told(self, user: str, *, changed: bool, gone: bool = False) -> bool:
        try:
            if changed:
                await self._feed.announce(user, gone=gone)
        except StoreUnavailable as error:
            logger.warning("a change of a user was not announced, replicas see it within seconds: %s", error)
        return changed
