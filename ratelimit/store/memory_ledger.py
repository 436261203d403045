"""The usage ledger in this process: whole for one replica, gone when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.users.usage_rows import MAX_ROWS_PER_DAY, MORE, NOTHING_USED, Used, UsedBy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ratelimit.users.usage_rows import UsageBatch
    from ratelimit.users.users import UserRecord


class MemoryLedger:
    """`LedgerStore`; `read` gives users' records, which name their groups."""

    def __init__(self, read: Callable[[str], Awaitable[UserRecord | None]]) -> None:
        self._read = read
        self._days: dict[str, dict[UsedBy, Used]] = {}
        """Of `retention_days` at most."""
        self._last: dict[str, int] = {}
        """By writer: this process."""

    async def write_usage(self, batch: UsageBatch, retention_days: int) -> bool:
        if self._last.get(batch.writer, 0) >= batch.number:
            return False
        self._last[batch.writer] = batch.number
        for (day, user, model), used in batch.rows.items():
            record = await self._read(user) if user else None
            group = getattr(record, "group", "") or ""
            self._add(UsedBy(day, user, group, model), used)
        for day in sorted(self._days)[: -(retention_days + 1)]:
            del self._days[day]
        return True

    def _add(self, who: UsedBy, used: Used) -> None:
        rows = self._days.setdefault(who.day, {})
        if who not in rows and len(rows) >= MAX_ROWS_PER_DAY:
            who = UsedBy(who.day, MORE, MORE, MORE)
        rows[who] = rows.get(who, NOTHING_USED).plus(used)

    async def read_usage(self, days: Sequence[str]) -> Mapping[UsedBy, Used]:
        return {who: used for day in days for who, used in self._days.get(day, {}).items()}
