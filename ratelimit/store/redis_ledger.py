"""The usage ledger on a Redis or Valkey server (`lua/ledger.lua` has the form of a day).

    gateway:{gateway-usage}:day:<day>          what was used that day, gone when its retention is over
    gateway:{gateway-usage}:writer:<process>   the number of the last batch that was written

All in one slot of a cluster. Records of users are in others: there nobody is in a group, which a cluster has none of.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from redis.asyncio import RedisCluster

from ratelimit.store.redis_edge import RedisEdge, text
from ratelimit.store.scripts import Script, run
from ratelimit.users.usage_rows import Used, UsedBy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimit.users.usage_rows import UsageBatch

_LEDGER = Script("ledger.lua")
_PREFIX = "gateway:{gateway-usage}:"
_WRITER_SECONDS = 7 * 86400
"""A batch whose answer was lost is told again within this, or not at all: no process waits longer for a store."""
_SCAN_COUNT = 1000
"""Rows of a day that are read at once: a server answers others between."""


class RedisLedger(RedisEdge):
    """`LedgerStore`."""

    async def write_usage(self, batch: UsageBatch, retention_days: int) -> bool:
        reads_records = not isinstance(self._client, RedisCluster)
        told: list[str | int] = [batch.number, _WRITER_SECONDS, int(reads_records)]
        for (day, user, model), used in batch.rows.items():
            told += day, _expiry(day, retention_days), user, model, *used
        call = _LEDGER.call((f"{_PREFIX}writer:{batch.writer}", f"{_PREFIX}day:"), told)
        async with self._edge():
            return bool(await run(self._client, call))

    async def read_usage(self, days: Sequence[str]) -> Mapping[UsedBy, Used]:
        rows: dict[UsedBy, Used] = {}
        for day in days:
            cursor: Any = None
            while cursor not in (0, b"0", "0"):
                async with self._edge():
                    cursor, some = await self._client.hscan(f"{_PREFIX}day:{day}", cursor or 0, count=_SCAN_COUNT)
                pairs = some.items() if isinstance(some, dict) else zip(*[iter(some)] * 2, strict=True)
                # A row may be told twice while the hash grows: the last one holds.
                rows |= {_who(day, field): _counts(counts) for field, counts in pairs}
        return rows


def _who(day: str, field: bytes | str) -> UsedBy:
    return UsedBy(day, *msgspec.json.decode(text(field), type=tuple[str, str, str]))


def _counts(value: bytes | str) -> Used:
    return Used(*map(int, text(value).split()))


def _expiry(day: str, retention_days: int) -> int:
    """In whatever zone the day is: within one more day of all."""
    last = date.fromisoformat(day) + timedelta(days=retention_days + 1)
    return int(datetime.combine(last, time(), UTC).timestamp())
