"""What is particular to the Redis store: AIBrix's records, keys and their expiry, scripts, cluster slots, outages."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
import redis

from ratelimit import CorruptUserRecord, Cost, Limits, Outcome, RedisStore, Settlement, StoreUnavailable, UserRecord
from ratelimit.keys import counter_prefix, record_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = ["lgy", "{tag}", "a{tag}b", "a}b", "{}{b}", "a{b", "用户"]


@pytest.fixture
async def redis_store(server) -> AsyncIterator[RedisStore]:
    store = RedisStore.from_url(server.url, timeout_seconds=5)
    yield store
    await store.close()


@pytest.fixture
def raw(server):
    with server.client() as client:
        yield client


async def test_records_are_aibrix_own(redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=5, tpm=7))
    assert raw.get("aibrix-users/lgy") == b'{"name":"lgy","rpm":5,"tpm":7}'
    raw.set("aibrix-users/go", '{ "name": "go", "rpm": 6, "tpm": 0, "team": {"x": [null]} }')
    assert await redis_store.read("go") == UserRecord("go", rpm=6)
    assert (await redis_store.admit("go", Cost())).limits == Limits(6, 6000)


CORRUPT = ["", "nonsense", "[]", "null", "7", '{"rpm":1}', '{"name":"a","rpm":"1"}', '{"name":"a","tpm":-1}',
           '{"name":"a","rpm":1.5}', '{"name":"a","rpm":null}', '{"name":"a","rpm":1e999}']  # fmt: skip


@pytest.mark.parametrize("value", CORRUPT)
async def test_a_corrupt_record_is_named_and_can_be_repaired(redis_store, raw, value):
    raw.set("aibrix-users/lgy", value)
    for call in (redis_store.admit("lgy", Cost()), redis_store.read("lgy"), redis_store.usage("lgy")):
        with pytest.raises(CorruptUserRecord, match="aibrix-users/lgy"):
            await call
    assert raw.keys() == [b"aibrix-users/lgy"]
    assert await redis_store.update(UserRecord("lgy"))
    assert (await redis_store.admit("lgy", Cost())).outcome is Outcome.ADMITTED


async def test_a_key_of_another_type_is_a_corrupt_record(redis_store, raw):
    raw.hset("aibrix-users/lgy", "rpm", 5)
    for call in (redis_store.admit("lgy", Cost()), redis_store.read("lgy")):
        with pytest.raises(CorruptUserRecord, match="aibrix-users/lgy"):
            await call
    assert await redis_store.delete("lgy")


async def test_every_counter_has_its_own_key_and_expiry(server, redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    await server.clear_of_the_edge()
    window = raw.time()[0] // 60
    await redis_store.admit("lgy", Cost(1, 0))
    tokens, requests = (f"gateway:{{aibrix-users/lgy}}:{kind}:{window}" for kind in ("tokens", "requests"))
    settled = "gateway:{aibrix-users/lgy}:settled:id"
    raw.set(f"gateway:{{aibrix-users/lgy}}:tokens:{window - 1}", 0)
    assert raw.exists(requests, tokens, settled) == 1
    await redis_store.settle("lgy", "id", 5)
    assert raw.exists(requests, tokens, settled) == 3
    assert raw.mget(requests, tokens) == [b"1", b"5"]
    assert 115 <= raw.ttl(requests) <= 120
    assert 115 <= raw.ttl(tokens) <= 120
    assert 175 <= raw.ttl(settled) <= 180
    await redis_store.delete("lgy")
    assert raw.keys() == [settled.encode()]


async def test_the_servers_previous_window_counts_by_the_formula(server, redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=1000, tpm=1_000_000))
    await server.clear_of_the_edge()
    before = raw.time()
    previous = before[0] // 60 - 1
    raw.set(f"gateway:{{aibrix-users/lgy}}:requests:{previous}", 600)
    raw.set(f"gateway:{{aibrix-users/lgy}}:tokens:{previous}", 60_000)
    decision = await redis_store.admit("lgy", Cost(2, 30))
    after = raw.time()
    least, most = (1 - (seconds % 60 + micros / 1e6) / 60 for seconds, micros in (after, before))
    assert 600 * least + 2 <= decision.requests_used <= 600 * most + 2
    assert 60_000 * least + 30 <= decision.tokens_used <= 60_000 * most + 30


@pytest.mark.parametrize(
    ("kind", "outcome"), [("requests", Outcome.REQUESTS_EXCEEDED), ("tokens", Outcome.TOKENS_EXCEEDED)]
)
async def test_the_servers_previous_window_refuses(server, redis_store, raw, kind, outcome):
    await redis_store.create(UserRecord("lgy", rpm=1000, tpm=1000))
    await server.clear_of_the_edge()
    previous = raw.time()[0] // 60 - 1
    raw.set(f"gateway:{{aibrix-users/lgy}}:{kind}:{previous}", 1_000_000)
    assert (await redis_store.admit("lgy", Cost(1, 1))).outcome is outcome


async def test_tokens_that_are_just_spent_refuse_a_request_of_unknown_cost(server, redis_store):
    await redis_store.create(UserRecord("lgy", tpm=10))
    await server.clear_of_the_edge()
    await redis_store.settle("lgy", "1", 10)
    assert (await redis_store.admit("lgy", Cost(1, 0))).outcome is Outcome.TOKENS_EXCEEDED


async def test_an_admission_is_one_round_trip(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    await redis_store.admit("lgy", Cost())
    raw.config_resetstat()
    await redis_store.admit("lgy", Cost())
    stats = raw.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in stats


async def test_scripts_that_the_server_forgot_are_sent_again(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    batch = [Settlement("lgy", str(charge), 1) for charge in range(3)]
    for _ in range(2):
        raw.script_flush()
        assert (await redis_store.admit("lgy", Cost())).outcome is Outcome.ADMITTED
    raw.script_flush()
    assert await redis_store.settle_many(batch) == 3
    raw.script_flush()
    assert await redis_store.settle_many(batch) == 0
    raw.script_flush()
    assert await redis_store.delete("lgy")


async def test_all_keys_of_a_user_are_in_one_cluster_slot(own_server):
    with own_server("--cluster-enabled", "yes") as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.05)  # noqa: ASYNC251 - nothing else runs in this test yet
            for name in NAMES:
                record = record_key(name)
                slots = {client.execute_command("CLUSTER", "KEYSLOT", key) for key in (record, counter_prefix(record))}
                assert len(slots) == 1
        store = RedisStore.from_url(server.url, timeout_seconds=5)
        for name in NAMES:
            await store.create(UserRecord(name))
            assert (await store.admit(name, Cost(1, 1))).outcome is Outcome.ADMITTED
            assert await store.settle(name, "1", 1)
            assert await store.delete(name)
        await store.close()


async def test_a_server_that_is_gone_is_reported_and_found_again(own_server):
    with own_server() as server:
        store = RedisStore.from_url(server.url)
        await store.ping()
    for call in (store.admit("lgy", Cost()), store.settle("lgy", "1", 1), store.read("lgy"), store.names(5)):
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
            await call
    await store.close()


async def test_a_server_that_hangs_is_given_up_in_time_and_used_again(own_server):
    with own_server() as server:
        store = RedisStore.from_url(server.url, timeout_seconds=0.3, max_connections=2)
        await store.create(UserRecord("lgy", rpm=1000))
        server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        # More callers than connections: those who wait for one are bounded by the same time.
        calls = [store.admit("lgy", Cost(0, 1)) for _ in range(16)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        assert [str(error) for error in errors] == [f"redis://127.0.0.1:{server.port}/0: no answer within 0.3 s"] * 16
        server.process.send_signal(signal.SIGCONT)
        # Late answers to the calls given up are not taken for answers to these.
        assert await store.read("lgy") == UserRecord("lgy", rpm=1000)
        assert (await store.admit("lgy", Cost())).limits == Limits(1000, 1_000_000)
        await store.close()


async def test_passwords_are_kept_out_of_sight(own_server):
    with own_server("--requirepass", "right") as server:
        host = f"127.0.0.1:{server.port}/0"
        good = RedisStore.from_url(f"redis://:right@{host}")
        await good.ping()
        bad = RedisStore.from_url(f"redis://:s%40cret@{host}")
        with pytest.raises(StoreUnavailable) as caught:
            await bad.ping()
        for text in (repr(bad), str(caught.value), repr(caught.value)):
            assert f"redis://{host}" in text
            assert "cret" not in text
        assert caught.value.__suppress_context__
        assert caught.value.__cause__ is None
        await good.close()
        await bad.close()


@pytest.mark.parametrize(
    "url", ["redis://:s#cret@h:1", "redis://:12#s@h", "redis://:s/cret@h:1", "redis://:[cret@h", "x"]
)
def test_a_url_that_cannot_be_read_is_not_quoted(url):
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        RedisStore.from_url(url)
    assert "cret" not in str(caught.value)


def test_the_query_of_a_url_is_not_shown():
    assert repr(RedisStore.from_url("rediss://me:cret@h:1/2?password=cret")) == "RedisStore(rediss://h:1/2)"


async def test_a_server_that_quotes_the_password_does_not_give_it_away(redis_store):
    redis_store._client.connection_pool.connection_kwargs["password"] = "s@cret"
    reason = redis_store._reason(redis.ResponseError("unknown command 'AUTH', with args beginning with: 's@cret'"))
    assert reason == "ResponseError: unknown command 'AUTH', with args beginning with: '***'"
