"""On a Redis or Valkey server, for all replicas.

    gateway:{catalogue}:<part>      hash: the part's entries
    gateway:{catalogue}:versions    hash: part -> how often it was written
    gateway:{catalogue}:leader      the replica that writes what was seen and sends webhooks; expires by itself

All keys share a cluster's slot. Entries are written before the version grows, so whoever sees a new version sees the
entries; a crash between the two is made good by the next write, or by the slow look that readers take anyway.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway_plugin.models.store import LEAD_SECONDS
from ratelimit.store.redis_edge import RedisEdge, text
from ratelimit.store.urls import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway_plugin.models.store import Part

_PREFIX = "gateway:{catalogue}:"
_VERSIONS, _LEADER = f"{_PREFIX}versions", f"{_PREFIX}leader"
_NUMBER = re.compile("[0-9]{1,19}", re.ASCII)
_KEYS_PER_CALL = 500
"""So that no call holds Redis up."""
_MAX_CONNECTIONS = 4
"""It asks once a second."""

# Asking again prolongs the lead; whoever else holds it keeps it.
_LEAD = """
local leader = redis.call('GET', KEYS[1])
if not leader or leader == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1
end
return 0
"""
_ABDICATE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisCatalogueStore(RedisEdge):
    """`CatalogueStore`. Raises ValueError for a URL that is none."""

    def __init__(self, url: str, timeout_seconds: float = 0.5) -> None:
        super().__init__(connect(url, timeout_seconds), timeout_seconds, _MAX_CONNECTIONS)
        self._led_as = ""

    async def read(self, part: Part) -> dict[str, bytes]:
        async with self._edge():
            found = await self._client.execute_command("HGETALL", _PREFIX + part)
        return {text(key): _bytes(value) for key, value in found.items()}

    async def write(self, part: Part, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        key = _PREFIX + part
        fields = [item for pair in puts.items() for item in pair]
        names = list(deletes)
        for start in range(0, len(names), _KEYS_PER_CALL):
            async with self._edge():
                await self._client.execute_command("HDEL", key, *names[start : start + _KEYS_PER_CALL])
        for start in range(0, len(fields), 2 * _KEYS_PER_CALL):
            async with self._edge():
                await self._client.execute_command("HSET", key, *fields[start : start + 2 * _KEYS_PER_CALL])
        async with self._edge():
            await self._client.execute_command("HINCRBY", _VERSIONS, part, 1)

    async def versions(self) -> Mapping[str, int]:
        async with self._edge():
            found = await self._client.execute_command("HGETALL", _VERSIONS)
        return {text(part): int(value) for part, value in found.items() if _NUMBER.fullmatch(text(value))}

    async def lead(self, replica: str) -> bool:
        async with self._edge():
            leads = bool(await self._client.execute_command("EVAL", _LEAD, 1, _LEADER, replica, LEAD_SECONDS))
        self._led_as = replica if leads else ""
        return leads

    async def close(self) -> None:
        if self._led_as:
            async with self._edge():
                await self._client.execute_command("EVAL", _ABDICATE, 1, _LEADER, self._led_as)
        await super().close()


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
