"""Sharing over real servers: alone, as a cluster, with a URL that asks for text; and a process that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from gateway_plugin.peers.inbox import Abandoned
from gateway_plugin.peers.peer_store import INFLIGHT_KEY_MS, NEWS_KEPT, OLDEST_NEWS, PeerStore, Turn
from gateway_plugin.peers.post import charge_ids
from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import StoreUnavailable
from tests.integration.limits.conftest import SERVERS, run_cluster
from tests.integration.peers import replica_process
from tests.integration.peers.replica_process import Replica

pytestmark = pytest.mark.redis

KEY = "gateway:model:{m}:inflight"
PATIENCE_SECONDS = 10.0
"""Of a store that is there: a machine that does other things is no outage."""


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory) -> Iterator[str]:
    with Valkey(tmp_path_factory.mktemp("peers")) as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory) -> Iterator[str]:
    with run_cluster(str(SERVERS["valkey"]), tmp_path_factory.mktemp("peers-cluster")) as cluster:
        yield cluster.url


@pytest.fixture
def raw(valkey_url) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["valkey", "decoding", "cluster"])
def url(request) -> str:
    if request.param == "cluster":
        cluster: str = request.getfixturevalue("cluster_url")
        return cluster
    request.getfixturevalue("raw")
    server: str = request.getfixturevalue("valkey_url")
    return f"{server}?decode_responses=true" if request.param == "decoding" else server


@contextlib.asynccontextmanager
async def sharing(*replicas: Replica) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(replica.sharing.run()) for replica in replicas]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def seconds_until(condition: Callable[[], bool], limit: float = 20.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, "never"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def both_see(replicas: list[Replica], at_each: list[float]) -> bool:
    return [replica.sees() for replica in replicas] == [at_each] * 2


async def test_two_replicas_agree_within_half_a_second(url: str):
    replicas = [Replica(url), Replica(url)]
    waits = []
    async with sharing(*replicas):
        await seconds_until(lambda: all(replica.sharing.turns for replica in replicas))
        leases = []
        for step in range(1, 8):
            leases += [replicas[(step + n) % 2].pods.book((step + n) % 4) for n in range(3 * step)]
            for lease in leases[:step]:
                lease.release()
            del leases[:step]
            at_each = [float(sum(lease.row == row for lease in leases)) for row in range(4)]
            waits.append(await seconds_until(partial(both_see, replicas, at_each)))
        for lease in leases:
            lease.release()
        waits.append(await seconds_until(lambda: [replica.sees() for replica in replicas] == [[0.0] * 4] * 2))
    assert statistics.median(waits) < 0.5, waits
    assert all(replica.sharing.failures == replica.sharing.unreadable == 0 for replica in replicas)


async def test_log_entries_find_the_replica_that_booked(url: str):
    one, other = Replica(url), Replica(url)
    async with sharing(one, other):
        for _ in range(1200):
            other.router.settle(
                charge_ids(one.id)(), "10.0.0.1:8000", succeeded=True, prompt=1, cached=0, output=1, model="m"
            )
        await seconds_until(lambda: one.sharing.post.counts["received"] == 1200)
    assert other.sharing.post.counts["forwarded"] == 1200


async def test_news_reach_all_others_once_and_only_the_last_are_kept(url: str):
    stores = [PeerStore.from_url(url, PATIENCE_SECONDS) for _ in range(2)]
    start = (await stores[1].exchange(Turn("b"))).news_after
    for number in range(3):
        await stores[0].exchange(Turn("a", news=bytes([number, 255]), news_after=start))
    answers = await stores[1].exchange(Turn("b", news=b"own", news_after=start))
    assert list(answers.news) == [b"\x00\xff", b"\x01\xff", b"\x02\xff"]
    again = await stores[1].exchange(Turn("b", news_after=answers.news_after))
    assert (list(again.news), again.news_after) == ([], answers.news_after)
    for number in range(NEWS_KEPT + 5):
        await stores[0].exchange(Turn("a", news=b"%d" % number))
    late, after = list[bytes](), OLDEST_NEWS
    while (answers := await stores[1].exchange(Turn("b", news_after=after))).news_after != after:
        late, after = [*late, *answers.news], answers.news_after
    assert late == [b"%d" % number for number in range(5, NEWS_KEPT + 5)]
    for store in stores:
        await store.close()


async def test_a_killed_process_is_forgotten_within_two_seconds(valkey_url: str, raw: redis.Redis):
    watcher = Replica(valkey_url)
    script = Path(replica_process.__file__)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), valkey_url, "2", "7", cwd=script.parents[3], env={"PYTHONPATH": "."}
    )
    async with sharing(watcher):
        await seconds_until(lambda: watcher.sees() == [0.0, 0.0, 7.0, 0.0])
        await asyncio.sleep(1.8)
        assert watcher.sees() == [0.0, 0.0, 7.0, 0.0]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await seconds_until(lambda: watcher.sees() == [0.0] * 4) < 2.0
        assert raw.hlen("gateway:model:{org%2Fm-0%20%7Bx%7D}:inflight") == 1
    await seconds_until(lambda: raw.keys("gateway:model:*") == [])


async def test_keys_expire_and_only_unchanged_fields_are_removed(valkey_url: str, raw: redis.Redis):
    store = PeerStore.from_url(valkey_url, PATIENCE_SECONDS)
    values = {"b": b"\xff\x00", "c": b"new"}
    for replica, value in values.items():
        await store.exchange(Turn(replica, writes={"m": value}))
    remaining = raw.pttl(KEY)
    assert isinstance(remaining, int)
    assert 0 < remaining <= INFLIGHT_KEY_MS
    abandoned = [Abandoned("m", "b", b"\xff\x00"), Abandoned("m", "c", b"old"), Abandoned("m", "d", b"never")]
    answers = await store.exchange(Turn("a", abandoned=abandoned, reads=["m", "n"]))
    assert answers.values == {"m": {b"c": b"new"}, "n": {}}
    await store.withdraw("c", ["m"])
    assert raw.keys() == []
    await store.withdraw("c", [])
    await store.close()


async def test_a_key_of_another_kind_spoils_no_other_and_goes(valkey_url: str, raw: redis.Redis):
    raw.set(KEY, "mine")
    store = PeerStore.from_url(valkey_url, PATIENCE_SECONDS)
    await store.exchange(Turn("b", writes={"n": b"1"}))
    answers = await store.exchange(Turn("a", reads=["m", "n"]))
    assert (answers.values, answers.unreadable) == ({"n": {b"b": b"1"}}, 1)
    raw.set(KEY, "mine again")
    await store.exchange(Turn("a", writes={"m": b"1", "n": b"2"}))
    await store.exchange(Turn("a", writes={"m": b"3"}))
    assert raw.hgetall(KEY) == {b"a": b"3"}
    assert store.refused_items == 2
    await store.close()


async def test_a_stranger_in_the_stream_of_prompts_is_passed_over(valkey_url: str, raw: redis.Redis):
    store, other = PeerStore.from_url(valkey_url, PATIENCE_SECONDS), PeerStore.from_url(valkey_url, PATIENCE_SECONDS)
    raw.xadd("gateway:prompts", {"foo": "bar"})
    raw.xadd("gateway:prompts", {"replica": b"\xff", "news": b"\xff"})
    await other.exchange(Turn("b", news=b"told"))
    answers = await store.exchange(Turn("a"))
    assert (list(answers.news), answers.unreadable) == ([b"\xff", b"told"], 1)
    # Nothing can be added after the largest id there is.
    raw.xadd("gateway:prompts", {"foo": "bar"}, id="18446744073709551615-18446744073709551615")
    for _ in range(2):
        await other.exchange(Turn("b", news=b"again", writes={"m": b"1"}))
    assert b"again" in (await store.exchange(Turn("a"))).news
    await store.close()
    await other.close()


async def test_who_has_read_the_largest_id_hears_news_again(valkey_url: str, raw: redis.Redis):
    store, other = PeerStore.from_url(valkey_url, PATIENCE_SECONDS), PeerStore.from_url(valkey_url, PATIENCE_SECONDS)
    raw.xadd("gateway:prompts", {"foo": "bar"}, id="18446744073709551615-18446744073709551615")
    after = OLDEST_NEWS
    for _ in range(3):
        after = (await store.exchange(Turn("a", news_after=after))).news_after
    for _ in range(2):
        await other.exchange(Turn("b", news=b"again"))
    assert b"again" in (await store.exchange(Turn("a", news_after=after))).news
    await store.close()
    await other.close()


async def test_what_strangers_write_ends_no_replica(valkey_url: str, raw: redis.Redis):
    replica = Replica(valkey_url)
    async with sharing(replica):
        await seconds_until(lambda: replica.sharing.turns > 0)
        raw.xadd("gateway:prompts", {"foo": "bar"})
        raw.rpush(f"gateway:replica:{{{replica.id}}}:outcomes", b"\xff\xff", b"")
        raw.hset("gateway:model:{org%2Fm-0%20%7Bx%7D}:inflight", b"\xff", b"\xff")
        turns = replica.sharing.turns
        await seconds_until(lambda: replica.sharing.turns > turns + 3)
    assert replica.sharing.failures == 0
    assert replica.sharing.unreadable == 1
    assert replica.sharing.post.counts["malformed"] >= 1


async def test_outcomes_are_removed_only_when_they_arrived(valkey_url: str, raw: redis.Redis):
    store = PeerStore.from_url(valkey_url, PATIENCE_SECONDS)
    raw.rpush("gateway:replica:{a}:outcomes", b"1", b"2")
    first = (await store.exchange(Turn("a"))).outcomes
    again = (await store.exchange(Turn("a"))).outcomes
    assert list(first) == list(again) == [b"1", b"2"]
    raw.rpush("gateway:replica:{a}:outcomes", b"3")
    for _ in range(2):  # an acknowledgement may be said twice
        assert list((await store.exchange(Turn("a", arrived=first))).outcomes) == [b"3"]
    await store.close()


async def test_a_server_that_is_away_is_said_to_be(tmp_path):
    with Valkey(tmp_path) as server:
        store = PeerStore.from_url(server.url, 0.3)
        await store.exchange(Turn("a", reads=["m"]))
        server.freeze()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.exchange(Turn("a", reads=["m"]))
        assert time.monotonic() - began < 2
        server.thaw()
        await store.exchange(Turn("a", reads=["m"]))
    with pytest.raises(StoreUnavailable):
        await store.exchange(Turn("a", reads=["m"]))
    await store.close()
