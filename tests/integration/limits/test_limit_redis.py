"""What is particular to the Redis store: AIBrix's records, keys and their expiry, scripts, cluster slots, outages."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from ratelimit import (
    Admission,
    CorruptUserRecord,
    Decision,
    Limits,
    Outcome,
    RedisStore,
    Settlement,
    StoreUnavailable,
    UserRecord,
)
from ratelimit.store.limit_store import ItemRefused, Replay, UserChange
from ratelimit.store.redis_keys import counter_prefix, record_key

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


async def test_connections_that_the_server_closed_while_they_were_idle(redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=1000))
    for number in range(3):
        # Several at once keep several connections; each round finds all of them closed.
        asked = [Admission("lgy", f"{number}-{each}") for each in range(5)]
        decisions = await asyncio.gather(*(redis_store.admit(one) for one in asked))
        assert {decision.outcome for decision in decisions} == {Outcome.ADMITTED}
        assert raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)


async def test_records_are_aibrix_own(redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=5, tpm=7))
    assert raw.get("aibrix-users/lgy") == b'{"name":"lgy","rpm":5,"tpm":7}'
    raw.set("aibrix-users/go", '{ "name": "go", "rpm": 6, "tpm": 0, "team": {"x": [null]} }')
    assert await redis_store.read("go") == UserRecord("go", rpm=6)
    assert (await redis_store.admit(Admission("go", "1"))).limits == Limits(6, 6000)


CORRUPT = ["", "nonsense", "[]", "null", "7", '{"rpm":1}', '{"name":"a","rpm":"1"}', '{"name":"a","tpm":-1}',
           '{"name":"a","rpm":1.5}', '{"name":"a","rpm":null}', '{"name":"a","rpm":1e999}']  # fmt: skip


@pytest.mark.parametrize("value", CORRUPT)
async def test_a_corrupt_record_is_named_and_can_be_repaired(redis_store, raw, value):
    raw.set("aibrix-users/lgy", value)
    for call in (redis_store.admit(Admission("lgy", "1")), redis_store.read("lgy"), redis_store.usage("lgy")):
        with pytest.raises(CorruptUserRecord, match="aibrix-users/lgy"):
            await call
    assert raw.keys() == [b"aibrix-users/lgy"]
    assert await redis_store.update(UserRecord("lgy"))
    assert (await redis_store.admit(Admission("lgy", "1"))).outcome is Outcome.ADMITTED


async def test_a_key_of_another_type_is_a_corrupt_record(redis_store, raw):
    raw.hset("aibrix-users/lgy", "rpm", 5)
    for call in (redis_store.admit(Admission("lgy", "1")), redis_store.read("lgy")):
        with pytest.raises(CorruptUserRecord, match="aibrix-users/lgy"):
            await call
    assert await redis_store.delete("lgy")


async def test_a_corrupt_record_spoils_no_other_admission_of_its_batch(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    raw.set("aibrix-users/bad", "nonsense")
    answers = await redis_store.admit_many([Admission(user, "1") for user in ("lgy", "bad", "nobody", "lgy")])
    outcomes = [answer.outcome if isinstance(answer, Decision) else type(answer) for answer in answers]
    assert outcomes == [Outcome.ADMITTED, CorruptUserRecord, Outcome.UNKNOWN_USER, Outcome.ADMITTED]


@pytest.mark.parametrize("counter", ["requests", "tokens", "parallel"])
async def test_a_counter_of_another_type_harms_its_user_alone(redis_store, raw, counter):
    for name in ("lgy", "bad"):
        await redis_store.create(UserRecord(name, rpm=10, tpm=100, max_parallel=5))
    raw.set(f"gateway:{{aibrix-users/bad}}:{counter}", "a stranger's")
    answers = await redis_store.admit_many([Admission(user, "1", tokens=1) for user in ("lgy", "bad", "lgy")])
    assert [type(answer) for answer in answers] == [Decision, ItemRefused, Decision]
    charges = [Settlement("bad", "1", 5), Settlement("lgy", "1", 7, 1)]
    assert await redis_store.settle_many(charges) == (2 if counter == "requests" else 1)
    usage = await redis_store.usage("lgy")
    assert usage is not None
    assert usage.tokens_used == 7


STRANGE_WINDOWS = [
    "=1/5 {future}:3",
    "=1/5 99999999999:3",
    "=99999999999/0 {future}:3",
    "=x",
    "{future}:3",
    "=1/5 " + "1:1 " * 10_000,
    "9" * 400 + ":" + "9" * 400,
]


@pytest.mark.parametrize("text", STRANGE_WINDOWS, ids=lambda text: text[:20])
async def test_windows_that_a_stranger_wrote_take_no_long_loop(redis_store, raw, text):
    await redis_store.create(UserRecord("lgy", rpm=10, tpm=1000))
    strange = text.format(future=int(time.time()) + 500_000_000)
    for kind in ("requests", "tokens"):
        raw.hset(f"gateway:{{aibrix-users/lgy}}:{kind}", "", strange)
    decision = await redis_store.admit(Admission("lgy", "1", tokens=7))
    assert (decision.outcome, decision.tokens_used) == (Outcome.ADMITTED, 7)
    usage = await redis_store.usage("lgy")
    assert (usage.requests_used, usage.tokens_used) == (1, 7)


async def test_debt_that_a_stranger_wrote_is_owed_for_a_day_at_most(redis_store, raw):
    await redis_store.create(UserRecord("lgy", tpm=1000))
    key = "gateway:{aibrix-users/lgy}:tokens"
    raw.hset(key, "", f"={int(time.time())}/{10**18} {int(time.time())}:1000")
    await redis_store.settle(Settlement("lgy", "1", 5))
    usage = await redis_store.usage("lgy")
    assert 1000 * 24 * 60 <= usage.tokens_used <= 1000 * (24 * 60 + 1)
    assert 0 < raw.ttl(key) <= 61 * (24 * 60 + 2)


@pytest.mark.parametrize("is_text", [True, False])
async def test_lengths_that_a_stranger_wrote_harm_nobody(redis_store, raw, is_text):
    key = "gateway:{aibrix-users/lgy}:lengths"
    await redis_store.create(UserRecord("lgy", rpm=10, tpm=1000, max_parallel=1))
    if is_text:
        raw.set(key, "a stranger's")
    else:
        raw.hset(key, "m", "a stranger's")
    assert (await redis_store.admit(Admission("lgy", "1", "m", 10, max_output=64))).outcome is Outcome.ADMITTED
    charge = Settlement("lgy", "1", 500, 10, "m", 400)
    assert [await redis_store.settle(charge) for _ in range(2)] == [True, False]
    usage = await redis_store.usage("lgy")
    assert (usage.tokens_used, usage.parallel) == (500, 0)


async def test_a_models_rate_of_another_type_limits_nobody(redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=10))
    raw.set("gateway:model:{m}:rate", "a stranger's")
    asked = [await redis_store.admit(Admission("lgy", str(n), "m", 0, 5)) for n in range(2)]
    assert {decision.outcome for decision in asked} == {Outcome.ADMITTED}


async def test_no_wait_for_a_models_rate_is_longer_than_its_second(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    seconds, _ = raw.time()
    raw.zadd("gateway:model:{m}:rate", {"before the clock was set back": (seconds + 3600) * 1_000_000})
    decision = await redis_store.admit(Admission("lgy", "1", "m", 0, 1))
    assert decision.outcome is Outcome.MODEL_RATE_EXCEEDED
    assert decision.retry_after_seconds <= 1.0


async def test_every_counter_has_its_own_key_and_expiry(redis_store, raw):
    await redis_store.create(UserRecord("lgy", max_parallel=5))
    await redis_store.admit(Admission("lgy", "1", "m", 9, 5))
    prefix = "gateway:{aibrix-users/lgy}"
    seconds = {
        f"{prefix}:requests": 122,
        f"{prefix}:tokens": 122,
        f"{prefix}:parallel": 3600,
        f"{prefix}:charge:1": 600,
        "gateway:model:{m}:rate": 60,
    }
    assert {key.decode() for key in raw.scan_iter()} == {*seconds, "aibrix-users/lgy"}
    assert all(most - 5 <= raw.ttl(key) <= most for key, most in seconds.items())
    await redis_store.settle(Settlement("lgy", "1", 5, 9))
    assert 175 <= raw.ttl(f"{prefix}:charge:1") <= 180
    await redis_store.delete("lgy")
    assert {key.decode() for key in raw.scan_iter()} == {f"{prefix}:charge:1", "gateway:model:{m}:rate"}


async def test_what_a_user_can_fill_is_bounded(redis_store, raw):
    await redis_store.create(UserRecord("lgy", rpm=1000, max_parallel=3))
    now = raw.time()[0]
    old = " ".join(f"{bucket}:1" for bucket in range(now - 500, now))
    raw.hset("gateway:{aibrix-users/lgy}:requests", "", old)
    raw.zadd("gateway:{aibrix-users/lgy}:parallel", {f"old {number}": number for number in range(50)})
    asked = [Admission("lgy", f"{number}", "m", 0, 4) for number in range(20)]
    admitted = [
        isinstance(one, Decision) and one.outcome is Outcome.ADMITTED for one in await redis_store.admit_many(asked)
    ]
    assert sum(admitted) == 3
    assert len(raw.hget("gateway:{aibrix-users/lgy}:requests", "").split()) <= 61
    assert raw.zcard("gateway:{aibrix-users/lgy}:parallel") == 3
    assert raw.zcard("gateway:model:{m}:rate") == 3


@pytest.mark.parametrize(
    ("kind", "outcome"), [("requests", Outcome.REQUESTS_EXCEEDED), ("tokens", Outcome.TOKENS_EXCEEDED)]
)
async def test_the_servers_earlier_buckets_count_in_full(redis_store, raw, kind, outcome):
    await redis_store.create(UserRecord("lgy", rpm=1000, tpm=1000))
    bucket = raw.time()[0] - 50
    raw.hset(f"gateway:{{aibrix-users/lgy}}:{kind}", "", f"{bucket - 20}:5000 {bucket}:999")
    assert (await redis_store.admit(Admission("lgy", "1", tokens=1))).outcome is Outcome.ADMITTED
    refused = await redis_store.admit(Admission("lgy", "2", tokens=1))
    assert refused.outcome is outcome
    assert refused.retry_after_seconds <= 10


async def test_an_admission_is_one_round_trip(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    await redis_store.admit(Admission("lgy", "1"))
    raw.config_resetstat()
    await redis_store.admit(Admission("lgy", "1"))
    stats = raw.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in stats


async def test_scripts_that_the_server_forgot_are_sent_again(redis_store, raw):
    await redis_store.create(UserRecord("lgy"))
    batch = [Settlement("lgy", str(charge), 1) for charge in range(3)]
    for _ in range(2):
        raw.script_flush()
        assert (await redis_store.admit(Admission("lgy", "1"))).outcome is Outcome.ADMITTED
    raw.script_flush()
    assert await redis_store.settle_many(batch) == 3
    raw.script_flush()
    assert await redis_store.settle_many(batch) == 0
    raw.script_flush()
    assert await redis_store.delete("lgy")


def test_all_keys_of_a_user_are_in_one_cluster_slot(cluster):
    with cluster.nodes[0].client() as client:
        for name in NAMES:
            record = record_key(name)
            slots = {client.execute_command("CLUSTER", "KEYSLOT", key) for key in (record, counter_prefix(record))}
            assert len(slots) == 1


async def test_a_batch_in_a_cluster_reaches_all_nodes_and_scripts_are_sent_again(cluster):
    store = RedisStore.from_url(cluster.url, timeout_seconds=5)
    users = [f"u{number}" for number in range(30)]
    for user in users:
        await store.create(UserRecord(user, rpm=1))
    for expected in (Outcome.ADMITTED, Outcome.REQUESTS_EXCEEDED):
        for node in cluster.nodes:
            with node.client() as client:
                client.script_flush()
        asked = [Admission(user, expected.value, "m", 5, 1000) for user in users]
        answers = await store.admit_many(asked)
        assert [isinstance(answer, Decision) and answer.outcome for answer in answers] == [expected] * 30
    sizes = []
    for node in cluster.nodes:
        with node.client() as client:
            sizes.append(client.dbsize())
    assert all(sizes)
    await store.close()


async def test_changes_are_heard_by_whoever_listens(redis_store):
    heard = redis_store.changes()
    first = asyncio.ensure_future(anext(heard))
    while not first.done():
        await redis_store.announce("用户")
        await asyncio.wait([first], timeout=0.05)
    assert first.result() == UserChange("用户")
    await redis_store.announce("用户", gone=True)
    while not (change := await anext(heard)).gone:
        assert change.name == "用户"
    assert change == UserChange("用户", gone=True)
    await heard.aclose()


async def test_changes_are_heard_in_a_cluster(cluster):
    store: Any = RedisStore.from_url(cluster.url, timeout_seconds=5)
    heard = store.changes()
    first = asyncio.ensure_future(anext(heard))
    while not first.done():
        await store.announce("lgy")
        await asyncio.wait([first], timeout=0.05)
    assert first.result() == UserChange("lgy")
    await heard.aclose()
    await store.close()


async def test_a_listener_is_told_when_the_server_goes(own_server):
    with own_server() as server:
        store = RedisStore.from_url(server.url)
        heard = store.changes()
        first = asyncio.ensure_future(anext(heard))
        with server.client() as client:
            while not client.pubsub_numsub("gateway:user-changes")[0][1]:
                await asyncio.wait([first], timeout=0.01)
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
        await first
    await store.close()


async def test_a_sentinel_names_the_server(own_server, sentinel):
    with own_server("--requirepass", "cret") as server:
        watched = f"sentinel monitor svc 127.0.0.1 {server.port} 1\nsentinel auth-pass svc cret\n"
        with sentinel(watched) as watcher:
            store = RedisStore.from_url(f"redis+sentinel://:cret@127.0.0.1:{watcher.port}/svc/0", timeout_seconds=5)
            await store.create(UserRecord("lgy", rpm=1))
            assert (await store.admit(Admission("lgy", "1"))).outcome is Outcome.ADMITTED
            assert await store.names(5) == ["lgy"]
            await store.close()
            wrong = RedisStore.from_url(f"redis+sentinel://:cret@127.0.0.1:{watcher.port}/other")
            with pytest.raises(StoreUnavailable) as caught:
                await wrong.ping()
            assert "cret" not in str(caught.value)
            await wrong.close()


async def test_a_server_that_is_gone_is_reported_and_found_again(own_server):
    with own_server() as server:
        store = RedisStore.from_url(server.url)
        await store.ping()
    for call in (
        store.admit(Admission("lgy", "1")),
        store.settle(Settlement("lgy", "1", 1)),
        store.read("lgy"),
        store.names(5),
    ):
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
            await call
    await store.close()


async def test_a_server_that_hangs_is_given_up_in_time_and_used_again(own_server):
    with own_server() as server:
        store = RedisStore.from_url(server.url, timeout_seconds=0.3, max_connections=2)
        await store.create(UserRecord("lgy", rpm=1000))
        server.freeze()
        began = time.monotonic()
        # More callers than connections: those who wait for one are bounded by the same time.
        calls = [store.admit(Admission("lgy", "1")) for _ in range(16)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        assert [str(error) for error in errors] == [f"redis://127.0.0.1:{server.port}/0: no answer within 0.3 s"] * 16
        server.thaw()
        # Late answers to the calls given up are not taken for answers to these.
        assert await store.read("lgy") == UserRecord("lgy", rpm=1000)
        assert (await store.admit(Admission("lgy", "1"))).limits == Limits(1000, 1_000_000)
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


async def test_a_server_that_quotes_the_password_does_not_give_it_away(redis_store):
    redis_store._password = "s@cret"
    reason = redis_store._reason(redis.ResponseError("unknown command 'AUTH', with args beginning with: 's@cret'"))
    assert reason == "ResponseError: unknown command 'AUTH', with args beginning with: '***'"


async def test_news_of_what_users_spent(redis_store, raw):
    assert await redis_store.tell(b"", "0-0") == ([], "0-0")
    told, after = await redis_store.tell(b"[1]", "0-0")
    assert list(told) == [b"[1]"]
    assert await redis_store.tell(b"", after) == ([], after)
    raw.xadd("gateway:spent", {"stranger": "x"})
    told, later = await redis_store.tell(b"[2]", after)
    assert list(told) == [b"[2]"]
    assert raw.pttl("gateway:spent") > 5000
    raw.set("gateway:spent", "a stranger's")
    told, after = await redis_store.tell(b"[3]", later)
    assert (list(told), after) == ([], "0-0")
    assert list((await redis_store.tell(b"[4]", after))[0]) == [b"[4]"]
    # Nothing comes after the largest id there is.
    raw.xadd("gateway:spent", {"stranger": "x"}, id="18446744073709551615-18446744073709551615")
    for _ in range(2):
        _, after = await redis_store.tell(b"", after)
    assert list((await redis_store.tell(b"[5]", after))[0]) == [b"[5]"]


async def test_an_answer_of_several_choices_that_was_admitted_elsewhere_teaches_the_length_of_one(redis_store, raw):
    await redis_store.create(UserRecord("lgy", tpm=100_000))
    asked = Admission("lgy", "1", "m", 10, max_output=500, choices=4)
    await redis_store.replay_many([Replay(asked, 2010, 1.0)])
    await redis_store.settle(Settlement("lgy", "1", 410, 2010, "m", 400))
    assert raw.hget("gateway:{aibrix-users/lgy}:lengths", "m") == b"100 100 100"
