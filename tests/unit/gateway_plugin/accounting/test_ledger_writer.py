"""Who used what: counted once, written in batches, kept through an outage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gateway_plugin.accounting.ledger_writer import ROWS_PER_BATCH, LedgerWriter
from protos.access_log import FinishedExchange
from ratelimit import MemoryStore, StoreUnavailable, UserRecord
from ratelimit.store.limit_store import ItemRefused
from ratelimit.store.memory_ledger import MemoryLedger
from ratelimit.users.usage_rows import MORE, Used, UsedBy, sum_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimit.users.usage_rows import UsageBatch

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
DAY = "2026-11-27"


def entry(charge: str, **changes: Any) -> FinishedExchange:
    values: dict[str, Any] = {
        "charge_id": charge,
        "user": "kim",
        "model": "m",
        "status": 200,
        "pod_address": "10.0.0.1:8000",
        "duration_seconds": 2.0,
        "ttft_seconds": 0.5,
        "attempts": 1,
        "client_aborted": False,
        "tokens": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cached_tokens": 8},
    }
    return FinishedExchange(**(values | changes))


class Store:
    """A ledger that may be away, or write and not say so."""

    def __init__(self) -> None:
        self.users = MemoryStore(lambda: 0.0)
        self.ledger = MemoryLedger(self.users.read)
        self.mode = "up"
        self.batches: list[UsageBatch] = []

    async def write_usage(self, batch: UsageBatch, retention_days: int) -> bool:
        self.batches.append(batch)
        if self.mode == "away":
            raise StoreUnavailable("store", "away")
        if self.mode == "refuses":
            raise ItemRefused("store", "another type")
        written = await self.ledger.write_usage(batch, retention_days)
        if self.mode == "mute":
            raise StoreUnavailable("store", "no answer")
        return written

    async def read_usage(self, days: Sequence[str]) -> Mapping[UsedBy, Used]:
        return await self.ledger.read_usage(days)


class Desk:
    def __init__(self, max_rows: int = 100) -> None:
        self.store, self.now = Store(), NOON
        self.writer = LedgerWriter(self.store, "w", lambda: self.now, UTC, retention_days=3, max_rows=max_rows)

    def count(self, charge: str, *, succeeded: bool = True, charged: int = 14, **changes: Any) -> None:
        self.writer.count(entry(charge, **changes), charged, succeeded=succeeded)

    async def rows(self, *days: str) -> Mapping[UsedBy, Used]:
        return await self.store.read_usage(days or (DAY,))


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_requests_are_counted_by_what_became_of_them(desk: Desk):
    desk.count("a")
    desk.count("b", succeeded=False, status=500, tokens={}, charged=0)
    desk.count("c", succeeded=False, client_aborted=True, tokens={}, charged=33)
    await desk.writer.write()
    assert await desk.rows() == {UsedBy(DAY, "kim", "", "m"): Used(1, 1, 1, 10, 8, 4, 33)}


async def test_a_charge_counts_once(desk: Desk):
    desk.count("a")
    await desk.writer.write()
    desk.count("a")
    await desk.writer.write()
    assert (await desk.rows())[UsedBy(DAY, "kim", "", "m")].requests == 1


async def test_members_are_counted_for_their_group(desk: Desk):
    await desk.store.users.create(UserRecord("kim", group="research"))
    desk.count("a")
    desk.count("b", user="lee")
    desk.count("c", user="")
    await desk.writer.write()
    assert {(who.user, who.group) for who in await desk.rows()} == {("kim", "research"), ("lee", ""), ("", "")}


async def test_what_cannot_be_written_waits(desk: Desk):
    desk.store.mode = "away"
    for number in range(5):
        desk.count(f"a{number}")
        with pytest.raises(StoreUnavailable):
            await desk.writer.write()
    assert desk.writer.waiting_rows == 2, "one is told, the others are summed up behind it"
    desk.store.mode = "up"
    await desk.writer.write()
    assert (await desk.rows())[UsedBy(DAY, "kim", "", "m")].requests == 5
    assert (desk.writer.waiting_rows, desk.writer.dropped_requests) == (0, 0)


async def test_an_answer_that_was_lost_counts_once(desk: Desk):
    desk.store.mode = "mute"
    desk.count("a")
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await desk.writer.write()
    desk.store.mode = "up"
    desk.count("b")
    await desk.writer.write()
    assert (await desk.rows())[UsedBy(DAY, "kim", "", "m")].requests == 2


async def test_what_finds_no_room_is_counted_for_all():
    desk = Desk(max_rows=3)
    desk.store.mode = "away"
    for number in range(10):
        desk.count(f"a{number}", user=f"user-{number}")
    assert desk.writer.waiting_rows == 4
    desk.store.mode = "up"
    await desk.writer.write()
    rows = await desk.rows()
    assert rows[UsedBy(DAY, MORE, "", MORE)].requests == 7
    assert sum(used.requests for used in rows.values()) == 10


async def test_what_waited_longer_than_is_kept_is_dropped(desk: Desk):
    desk.count("a")
    desk.now += 4 * 86400
    desk.count("b")
    await desk.writer.write()
    assert desk.writer.dropped_requests == 1
    assert [who.day for who in await desk.rows(DAY, "2026-12-01")] == ["2026-12-01"]


async def test_what_the_store_refuses_keeps_no_other_waiting(desk: Desk):
    desk.store.mode = "refuses"
    desk.count("a")
    await desk.writer.write()
    desk.store.mode = "up"
    desk.count("b")
    await desk.writer.write()
    assert desk.writer.dropped_requests == 1
    assert (await desk.rows())[UsedBy(DAY, "kim", "", "m")].requests == 1


async def test_many_rows_are_many_batches():
    desk = Desk(max_rows=10_000)
    for number in range(ROWS_PER_BATCH + 1):
        desk.count(f"a{number}", user=f"user-{number}")
    await desk.writer.write()
    assert [len(batch.rows) for batch in desk.store.batches] == [ROWS_PER_BATCH, 1]
    assert [batch.number for batch in desk.store.batches] == [1, 2]


async def test_a_day_begins_in_its_zone(desk: Desk):
    desk.now = NOON + 12 * 3600 - 1
    desk.count("a")
    desk.now += 1
    desk.count("b")
    await desk.writer.write()
    assert sorted(who.day for who in await desk.rows(DAY, "2026-11-28")) == [DAY, "2026-11-28"]


async def test_days_go_when_their_time_is_over(desk: Desk):
    for day in range(6):
        desk.now = NOON + day * 86400
        desk.count(f"a{day}")
        await desk.writer.write()
    days = [f"2026-11-{day}" for day in range(27, 31)] + ["2026-12-01", "2026-12-02"]
    assert sorted(who.day for who in await desk.rows(*days)) == days[2:]


def test_rows_are_summed_up_by_what_is_asked_for():
    rows = {
        UsedBy(DAY, "kim", "g", "m"): Used(1, prompt=5),
        UsedBy(DAY, "lee", "g", "m"): Used(2, prompt=7),
        UsedBy(DAY, "lee", "g", "n"): Used(4, prompt=9),
    }
    assert sum_up(rows, ()) == {UsedBy("", "", "", ""): Used(7, prompt=21)}
    assert sum_up(rows, ("user",)) == {
        UsedBy("", "kim", "", ""): Used(1, prompt=5),
        UsedBy("", "lee", "", ""): Used(6, prompt=16),
    }
