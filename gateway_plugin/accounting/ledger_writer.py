"""Who used what: counted as exchanges are booked, and written to the ledger's store each second.

Between two writes rows are summed up here, by day, user and model. While the store is away they wait: their number is
bounded, and what finds no room is counted in one row for all, so that sums stay whole; rows that are older than the
ledger keeps are dropped. A batch is told again until it is heard of, under its number, and the store writes each number
once. What waits is in memory: a process that is killed takes at most a second's use with it, or what an outage held up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from ratelimit import StoreUnavailable
from ratelimit.store.limit_store import ItemRefused
from ratelimit.users.usage_rows import MORE, UsageBatch, Used
from ratelimit.windows.periods import span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from protos.access_log import FinishedExchange
    from ratelimit.users.usage_rows import LedgerStore

logger = logging.getLogger(__name__)

Row = tuple[str, str, str]

EVERY_SECONDS = 1.0
"""Between two writes; a killed process loses no more."""
MAX_WAITING_ROWS = 50_000
"""Some 20 MB: all users and models of an outage, whatever they send meanwhile."""
ROWS_PER_BATCH = 100
"""Each takes 16 us of the store's time, while admissions wait."""
_MAX_SEEN = 20_000
"""Charges of the last moments, twice that at most: an entry that comes again comes soon."""
_LAST_SECONDS = 1.0
"""For what is left to write when the process ends."""


class _Row(msgspec.Struct, gc=False):
    """What `Used` will say of a row: a sum that grows in place, as every exchange adds to one."""

    succeeded: int = 0
    failed: int = 0
    aborted: int = 0
    prompt: int = 0
    cached: int = 0
    output: int = 0
    estimated: int = 0

    def add(self, entry: FinishedExchange, charged: int, *, succeeded: bool) -> None:
        """One exchange."""
        if succeeded:
            self.succeeded += 1
        elif entry.client_aborted:
            self.aborted += 1
        else:
            self.failed += 1
        tokens = entry.tokens
        if not tokens:
            self.estimated += charged
            return
        self.prompt += tokens.get("prompt_tokens", 0)
        self.cached += tokens.get("cached_tokens", 0)
        self.output += tokens.get("completion_tokens", 0)

    def used(self) -> Used:
        """As stores are told."""
        return Used(*msgspec.structs.astuple(self))


class LedgerWriter:
    """`now`: Unix time. `writer` names this process, and no other before or after it."""

    def __init__(
        self,
        store: LedgerStore,
        writer: str,
        now: Callable[[], float],
        zone: tzinfo,
        *,
        retention_days: int,
        max_rows: int = MAX_WAITING_ROWS,
    ) -> None:
        self._store = store
        self._writer = writer
        self._now = now
        self._zone = zone
        self._retention_days = retention_days
        self._max_rows = max_rows
        self._rows: dict[Row, _Row] = {}
        self._batch: UsageBatch | None = None
        """Told, and not heard of yet."""
        self._number = 0
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._day, self._day_end = "", 0.0
        self.written_rows = 0
        self.dropped_requests = 0
        """Of rows that waited longer than the ledger keeps, or that the store refused."""

    @property
    def waiting_rows(self) -> int:
        """What the store was not heard to have written."""
        return len(self._rows) + (len(self._batch.rows) if self._batch is not None else 0)

    def count(self, entry: FinishedExchange, charged: int, *, succeeded: bool) -> None:
        """One finished exchange, once per charge id. `charged`: what its user pays."""
        if entry.charge_id in self._seen or entry.charge_id in self._seen_before:
            return
        self._remember(entry.charge_id)
        key = (self._today(), entry.user, entry.model)
        row = self._rows.get(key) or self._new_row(key)
        row.add(entry, charged, succeeded=succeeded)

    def _new_row(self, key: Row) -> _Row:
        if len(self._rows) >= self._max_rows:
            key = (key[0], MORE, MORE)
        return self._rows.setdefault(key, _Row())

    def _remember(self, charge_id: str) -> None:
        if len(self._seen) >= _MAX_SEEN:
            self._seen, self._seen_before = set(), self._seen
        self._seen.add(charge_id)

    def _today(self) -> str:
        now = self._now()
        if now >= self._day_end or now < self._day_end - 2 * 86400:
            self._day = datetime.fromtimestamp(now, self._zone).date().isoformat()
            self._day_end = span_of("day", now, self._zone).end
        return self._day

    async def run(self) -> None:
        """Until it is cancelled; then what is left is written, if the store answers soon."""
        failing = False
        try:
            while True:
                await asyncio.sleep(EVERY_SECONDS)
                try:
                    await self.write()
                    failing = False
                except StoreUnavailable as error:
                    if not failing:
                        logger.warning("usage cannot be written, and waits here: %s", error)
                    failing = True
        finally:
            await self._last_words()

    async def _last_words(self) -> None:
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self.write()
        if self.waiting_rows:
            logger.warning("%d rows of usage were never written", self.waiting_rows)

    async def write(self) -> None:
        """All that was counted. Raises StoreUnavailable; then the same batch is told first the next time."""
        while self._next_batch():
            assert self._batch is not None
            await self._write(self._batch)
            self._batch = None

    async def _write(self, batch: UsageBatch) -> None:
        try:
            await self._store.write_usage(batch, self._retention_days)
        except ItemRefused as error:
            # It would be refused again, and no other would ever be told.
            self._drop(batch.rows)
            logger.error("usage was refused by its store: %s", error)
            return
        self.written_rows += len(batch.rows)

    def _drop(self, rows: Mapping[Row, Used]) -> None:
        self.dropped_requests += sum(used.requests for used in rows.values())

    def _next_batch(self) -> bool:
        if self._batch is None and self._rows:
            rows = {key: row.used() for key, row in islice(self._rows.items(), ROWS_PER_BATCH)}
            for row in rows:
                del self._rows[row]
            rows = self._young(rows)
            if rows:
                self._number += 1
                self._batch = UsageBatch(self._writer, self._number, rows)
        return self._batch is not None

    def _young(self, rows: dict[Row, Used]) -> dict[Row, Used]:
        oldest = datetime.fromtimestamp(self._now(), self._zone).date() - timedelta(days=self._retention_days)
        young = {row: used for row, used in rows.items() if row[0] >= oldest.isoformat()}
        self._drop({row: used for row, used in rows.items() if row not in young})
        return young
