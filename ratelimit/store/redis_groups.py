"""Groups on a Redis or Valkey server; `lua/tenancy.lua` reads them with each admission of a member.

    gateway-groups/<name>      the record
    gateway-groups             the set of their names
    gateway:{gateway-groups/<name>}:...      its counters, named like a user's

A user's script cannot see another slot of a cluster: there no group can be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import RedisCluster

from ratelimit.store.limit_store import StoreUnavailable
from ratelimit.store.redis_edge import RedisEdge, text
from ratelimit.store.scripts import Script, run
from ratelimit.users.groups import MAX_GROUPS, GroupRecord, check_group_name, decode_group, encode_rules

if TYPE_CHECKING:
    from collections.abc import Callable

_REPLACE = Script("replace.lua")
GROUP_NAMES = "gateway-groups"
"""The set of all names; a group's record is at this, a slash and its name."""
_MAX_TRIES = 20
"""At a group that others change at the same moment."""
_COUNTERS = (":requests", ":tokens", ":parallel", ":quotas")


class GroupsNotPossible(ValueError):  # noqa: N818 - it says what is wrong, like the other errors of this package
    """The store is a cluster, or has as many groups as there may be."""


class RedisGroups(RedisEdge):
    """`GroupStore`."""

    async def create_group(self, group: GroupRecord) -> bool:
        """False when it exists."""
        key = _key(group.name)
        if isinstance(self._client, RedisCluster):
            raise GroupsNotPossible("groups need a Redis that is no cluster")
        async with self._edge():
            if await self._client.scard(GROUP_NAMES) >= MAX_GROUPS:
                raise GroupsNotPossible(f"there are {MAX_GROUPS} groups already")
            # Listed first: what limits somebody can always be found.
            await self._client.sadd(GROUP_NAMES, group.name)
            return bool(await self._client.set(key, encode_rules(group), nx=True))

    async def read_group(self, name: str) -> GroupRecord | None:
        key = _key(name)
        async with self._edge():
            raw = await self._client.get(key)
        return None if raw is None else decode_group(raw, key)

    async def change_group(self, name: str, change: Callable[[GroupRecord], GroupRecord]) -> GroupRecord | None:
        """As `change` of users: no change is lost; None: there is none."""
        key = _key(name)
        for _ in range(_MAX_TRIES):
            async with self._edge():
                raw = await self._client.get(key)
                if raw is None:
                    return None
                group = change(decode_group(raw, key))
                if await run(self._client, _REPLACE.call((key,), (text(raw), encode_rules(group).decode()))):
                    return group
        raise StoreUnavailable(self.address, f"the group {name!r} is changed too often")

    async def delete_group(self, name: str) -> bool:
        """With its counters."""
        key = _key(name)
        async with self._edge():
            existed = await self._client.delete(key)
            await self._client.delete(*(f"gateway:{{{key}}}{kind}" for kind in _COUNTERS))
            await self._client.srem(GROUP_NAMES, name)
        return bool(existed)

    async def groups(self) -> list[GroupRecord]:
        """All, by name."""
        async with self._edge():
            names = sorted(text(name) for name in await self._client.smembers(GROUP_NAMES))
        found = [await self.read_group(name) for name in names]
        return [group for group in found if group is not None]


def _key(name: str) -> str:
    check_group_name(name)
    return f"gateway-groups/{name}"
