"""The usage ledger on real servers: sums, groups, batches that come twice, retention, a full day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ratelimit import RedisStore, StoreUnavailable, UserRecord
from ratelimit.store import redis_ledger
from ratelimit.store.limit_store import ItemRefused
from ratelimit.store.scripts import Script
from ratelimit.users.usage_rows import UsageBatch, Used, UsedBy
from tests.integration.limits.conftest import Server, ThreeNodes

TODAY = datetime.now(UTC).date().isoformat()
YESTERDAY = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
KEY = "gateway:{gateway-usage}:day:"


@pytest.fixture
async def store(server: Server):
    opened = RedisStore.from_url(server.url, timeout_seconds=5)
    yield opened
    await opened.close()


def batch(number: int, writer: str = "w", day: str = TODAY, user: str = "kim", **used: int) -> UsageBatch:
    return UsageBatch(writer, number, {(day, user, "m"): Used(**(used or {"succeeded": 1}))})


async def test_writers_add_to_the_same_rows(store: RedisStore):
    await store.create(UserRecord("kim", group="a/b"))
    for writer in ("one", "two"):
        assert await store.write_usage(batch(1, writer, succeeded=1, prompt=2**40, cached=3, output=4, estimated=5), 7)
    assert await store.write_usage(batch(2, "one", failed=1, aborted=2), 7)
    assert await store.read_usage([TODAY]) == {UsedBy(TODAY, "kim", "a/b", "m"): Used(2, 1, 2, 2**41, 6, 8, 10)}


async def test_a_batch_is_written_once(store: RedisStore):
    assert [await store.write_usage(batch(number), 7) for number in (1, 1, 2, 1, 2)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert (await store.read_usage([TODAY]))[UsedBy(TODAY, "kim", "", "m")].succeeded == 2


async def test_days_expire(store: RedisStore, server: Server):
    await store.write_usage(batch(1), 7)
    await store.write_usage(batch(2, day=YESTERDAY), 7)
    await store.write_usage(batch(3, day="2020-01-01"), 7)
    with server.client() as client:
        seconds = client.ttl(KEY + TODAY)
        assert 7 * 86400 <= seconds <= 8 * 86400
        assert client.ttl(KEY + YESTERDAY) == pytest.approx(seconds - 86400, abs=2)
        assert not client.exists(KEY + "2020-01-01")
    assert len(await store.read_usage([YESTERDAY, TODAY])) == 2


async def test_a_full_day_counts_the_rest_in_one_row(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ratelimit.store.scripts._CONSTANTS", {"MAX_ROWS_PER_DAY": 2})
    monkeypatch.setattr(redis_ledger, "_LEDGER", Script("ledger.lua"))
    for number, user in enumerate(("a", "b", "c", "d", "a"), 1):
        await store.write_usage(batch(number, user=user), 7)
    rows = await store.read_usage([TODAY])
    assert {who.user: used.succeeded for who, used in rows.items()} == {"a": 2, "b": 1, "(more)": 2}


async def test_names_are_data(store: RedisStore):
    names = ['"x"', "ü/é\\", "[1,2]", "(more)", ""]
    for number, name in enumerate(names, 1):
        await store.write_usage(batch(number, user=name), 7)
    assert {who.user for who in await store.read_usage([TODAY])} == set(names)


async def test_a_stranger_under_its_key_is_no_outage(store: RedisStore, server: Server):
    with server.client() as client:
        client.set(KEY + TODAY, "mine")
    with pytest.raises(ItemRefused):
        await store.write_usage(batch(1), 7)


async def test_many_rows_are_read_in_steps(store: RedisStore):
    rows = {(TODAY, f"user-{number}", "m"): Used(1) for number in range(2500)}
    await store.write_usage(UsageBatch("w", 1, rows), 7)
    assert sum(used.succeeded for used in (await store.read_usage([TODAY])).values()) == 2500


async def test_a_server_that_is_away_is_said():
    store = RedisStore.from_url("redis://127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        await store.write_usage(batch(1), 7)
    with pytest.raises(StoreUnavailable):
        await store.read_usage([TODAY])
    await store.close()


@pytest.mark.redis
async def test_a_cluster_keeps_one_without_groups(cluster: ThreeNodes):
    store = RedisStore.from_url(cluster.url, timeout_seconds=5)
    await store.create(UserRecord("kim", group="research"))
    await store.write_usage(batch(1), 7)
    assert await store.read_usage([TODAY]) == {UsedBy(TODAY, "kim", "", "m"): Used(1)}
    await store.close()
