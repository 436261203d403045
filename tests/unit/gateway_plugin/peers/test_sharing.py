"""Replicas see each other's work in time, in virtual time: on change, at an end, after a kill, through an outage."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.peers.announcer import INTERVAL_SECONDS, REPEAT_SECONDS
from gateway_plugin.peers.inbox import ABANDONED_SECONDS
from gateway_plugin.peers.peer_store import Turn
from gateway_plugin.peers.post import charge_ids, new_replica_id
from routing.pods.books import Work
from routing.spec import ClusterState
from routing.strategies.policy import RoutingRequest
from tests.unit.gateway_plugin.peers.conftest import PODS, MemoryPeers, Replica, seconds_until

if TYPE_CHECKING:
    from collections.abc import Callable

    Join = Callable[[str], Replica]

pytestmark = pytest.mark.looptime


def writes(store: MemoryPeers, replica: Replica) -> list[tuple[float, Turn]]:
    return [(at, turn) for at, turn in store.turns if turn.replica == replica.name and turn.writes]


def all_see(replicas: list[Replica], at_each: list[int]) -> bool:
    return all(replica.sees() == at_each for replica in replicas)


async def test_all_replicas_agree_within_half_a_second_of_any_change(join: Join):
    replicas = [join(name) for name in "abc"]
    leases = []
    for step in range(12):
        await asyncio.sleep(0.037 * step)
        leases += [replicas[step % 3].book(step % 2) for _ in range(step)]
        for lease in leases[: step // 2]:
            lease.release()
        del leases[: step // 2]
        at_each = [sum(int(lease.row == row) for lease in leases) for row in (0, 1)]
        assert await seconds_until(partial(all_see, replicas, at_each)) < 0.35
    for lease in leases:
        lease.release()
    assert await seconds_until(lambda: all(replica.sees() == [0.0, 0.0] for replica in replicas)) < 0.35


async def test_a_killed_replica_is_forgotten_within_two_seconds(join: Join):
    a, b = join("a"), join("b")
    b.book(1)
    await seconds_until(lambda: a.sees() == [0.0, 1.0])
    await asyncio.sleep(3.33)
    assert a.sees() == [0.0, 1.0], "work that lasts is repeated"
    await b.kill()
    assert 0.7 < await seconds_until(lambda: a.sees() == [0.0, 0.0]) < 1.6


async def test_a_replica_that_stops_takes_its_share_along(join: Join, store: MemoryPeers):
    a, b = join("a"), join("b")
    b.book(1)
    await seconds_until(lambda: a.sees() == [0.0, 1.0])
    await b.stop()
    assert store.hashes == {"m": {}}
    assert await seconds_until(lambda: a.sees() == [0.0, 0.0]) < 0.15


async def test_a_dead_replicas_field_is_removed_and_a_living_ones_is_not(join: Join, store: MemoryPeers):
    a, b, c = join("a"), join("b"), join("c")
    b.book()
    c.book()
    await seconds_until(lambda: a.sees() == [2.0, 0.0])
    await b.kill()
    await asyncio.sleep(ABANDONED_SECONDS - 1)
    assert set(store.hashes["m"]) == {b.name.encode(), c.name.encode()}
    await asyncio.sleep(1.5)
    assert set(store.hashes["m"]) == {c.name.encode()}
    assert a.sees() == [1.0, 0.0]


async def test_nothing_is_written_without_work_and_little_without_news(join: Join, store: MemoryPeers):
    a = join("a")
    await asyncio.sleep(5)
    assert writes(store, a) == []
    lease = a.book()
    await asyncio.sleep(5)
    assert len(writes(store, a)) == pytest.approx(5 / (REPEAT_SECONDS + 0.05), abs=2)
    lease.release()
    await asyncio.sleep(0.35)
    last = writes(store, a)[-1][1]
    assert last.writes == {"m": None}
    count = len(writes(store, a))
    await asyncio.sleep(5)
    assert len(writes(store, a)) == count


async def test_changes_are_written_at_most_every_interval(join: Join, store: MemoryPeers):
    a = join("a")
    for _ in range(200):
        a.book().release()
        a.book(1)
        await asyncio.sleep(0.013)
    times = [at for at, _ in writes(store, a)]
    assert len(times) > 5
    assert min(later - earlier for earlier, later in pairwise(times)) >= INTERVAL_SECONDS


async def test_an_outage_is_said_once_and_others_age_out_and_come_back(join: Join, store: MemoryPeers, caplog):
    caplog.set_level(logging.INFO)
    a, b = join("a"), join("b")
    a.book()
    lease = b.book(1)
    await seconds_until(lambda: a.sees() == [1.0, 1.0])
    store.away = True
    assert await seconds_until(lambda: a.sees() == [1.0, 0.0]) < 1.8
    await asyncio.sleep(60)
    assert len([turn for _, turn in store.turns if turn.replica == a.name]) < 100, "it is not asked all the time"
    lease.release()
    store.hashes.clear()  # a server that starts anew
    store.away = False
    b.book(0)
    assert await seconds_until(lambda: a.sees() == b.sees() == [2.0, 0.0]) < 2.5
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "are not heard" in line]) == 2, "once per replica"
    assert len([line for line in said if "are heard again" in line]) == 2
    assert a.sharing.failures > 10


async def test_a_stop_during_an_outage_is_quick_and_quiet(join: Join, store: MemoryPeers):
    a = join("a")
    a.book()
    await asyncio.sleep(1)
    store.away = True
    await a.stop()
    assert a.task is not None
    assert a.task.cancelled()


async def test_what_could_not_be_written_is_written_when_the_store_is_back(join: Join, store: MemoryPeers):
    a, b = join("a"), join("b")
    lease = b.book()
    await seconds_until(lambda: a.sees() == [1.0, 0.0])
    store.away = True
    await asyncio.sleep(0.3)
    lease.release()
    await asyncio.sleep(0.3)
    store.away = False
    await asyncio.sleep(2.1)
    assert store.hashes["m"] == {}, "the end of work is told, too"


async def test_malformed_values_are_counted_and_spoil_nothing(join: Join, store: MemoryPeers):
    a, b = join("a"), join("b")
    b.book()
    store.hashes["m"] = {b"x": b"\xff\xff\xff", b"\xff\xfe": b"", b"long": bytes(600_000)}
    assert await seconds_until(lambda: a.sees() == [1.0, 0.0]) < 0.35
    assert a.sharing.inbox.skipped["malformed"] == 2, "an empty message is a report without pods"
    await asyncio.sleep(2)
    assert a.sharing.inbox.skipped["malformed"] == 2, "each value is read once"
    await asyncio.sleep(ABANDONED_SECONDS)
    assert set(store.hashes["m"]) == {b.name.encode(), b"\xff\xfe"}


async def test_more_replicas_than_anybody_runs_are_not_read(join: Join, store: MemoryPeers):
    a = join("a")
    a.book()
    store.hashes["m"] = {f"{number:016}".encode(): b"\x08\x01" for number in range(100)}
    await asyncio.sleep(0.5)
    assert a.sharing.inbox.skipped["too_many"] > 0
    assert len(a.sharing.inbox._fields["m"]) <= 64


async def test_models_that_are_gone_are_forgotten(join: Join):
    a, b = join("a"), join("b")
    b.book()
    await seconds_until(lambda: a.sees() == [1.0, 0.0])
    a.pods.apply(ClusterState((), frozenset({"m"})))
    await asyncio.sleep(0.3)
    assert a.sharing.elsewhere.replicas == 0
    a.pods.apply(ClusterState(PODS, frozenset()))
    await seconds_until(lambda: a.sees() == [1.0, 0.0])


async def test_a_log_entry_finds_the_replica_that_booked(join: Join):
    a, b = join(new_replica_id()), join(new_replica_id())
    policy = a.router.policy("prefix-cache")
    assert policy is not None
    request = RoutingRequest("m", prompt_tokens=100.0, prefix=(1,), prefix_tokens=(100.0,))
    charge_id = charge_ids(a.name)()
    booking = a.router.book(policy, request, charge_id)
    row = booking.lease.row
    booking.lease.release()
    settled = {"succeeded": True, "prompt": 90, "cached": 0, "output": 40, "model": "m"}
    assert not b.router.settle(charge_id, booking.pods[0].address, **settled)  # type: ignore[arg-type]
    await asyncio.sleep(0.35)
    assert a.pods.books.output_tokens.totals(a.pods.view("m").rows, a.pods.books.clock())[row] == 40.0
    assert a.sharing.post.counts == {"forwarded": 0, "received": 1, "dropped": 0, "malformed": 0}
    assert b.sharing.post.counts == {"forwarded": 1, "received": 0, "dropped": 0, "malformed": 0}
    await asyncio.sleep(20)
    a.router.book(policy, request)
    assert a.router.silent == 0
    assert a.router.prefixes.expired == 0


async def test_an_entry_of_ones_own_that_is_settled_already_goes_nowhere(join: Join, store: MemoryPeers):
    a = join(new_replica_id())
    assert not a.router.settle(charge_ids(a.name)(), "", succeeded=False, prompt=0, cached=0, output=0, model="m")
    assert not a.router.settle("short", "", succeeded=False, prompt=0, cached=0, output=0, model="m")
    await asyncio.sleep(1)
    assert store.lists == {}
    assert a.sharing.post.counts["forwarded"] == 0


async def test_outcomes_wait_for_a_store_that_is_away(join: Join, store: MemoryPeers):
    a, b = join(new_replica_id()), join(new_replica_id())
    store.away = True
    await asyncio.sleep(1)
    for _ in range(3):
        b.router.settle(charge_ids(a.name)(), "", succeeded=False, prompt=0, cached=0, output=0, model="m")
    await asyncio.sleep(1)
    store.away = False
    await seconds_until(lambda: a.sharing.post.counts["received"] == 3)
    assert b.sharing.post.counts["forwarded"] == 3
    assert b.sharing.post.outgoing() == {}


async def test_the_own_prefill_shows_at_others_as_queue(join: Join):
    a, b = join("a"), join("b")
    b.book(0, Work(80_000.0, 80_000.0, 10.0))
    await seconds_until(lambda: a.sees() == [1.0, 0.0])
    assert a.pods.view("m").prefill_backlog_seconds[0] == pytest.approx(10.0, abs=0.35)


async def test_an_outcome_whose_answer_is_lost_comes_again_and_is_taken_once(join: Join, store: MemoryPeers):
    one, other = join("one"), join("other")
    await asyncio.sleep(1)
    store.loses_answers = True
    other.router.settle(
        charge_ids(one.name)(), "10.0.0.1:8000", succeeded=True, prompt=1, cached=0, output=1, model="m"
    )
    await asyncio.sleep(5)
    store.loses_answers = False
    await asyncio.sleep(5)
    assert one.sharing.post.counts["received"] >= 1
    assert store.lists[one.name] == []
    received = one.sharing.post.counts["received"]
    await asyncio.sleep(5)
    assert one.sharing.post.counts["received"] == received


async def test_a_replica_alone_takes_one_turn_a_second_until_it_hears_of_another(join: Join, store: MemoryPeers):
    a = join("a")
    a.sharing._is_alone = lambda: True
    await asyncio.sleep(1.5)
    before = a.sharing.turns
    await asyncio.sleep(10)
    assert a.sharing.turns - before == 10
    b = join("b")
    b.book(1)
    assert await seconds_until(lambda: a.sees() == [0.0, 1.0]) < 1.5
    before = a.sharing.turns
    await asyncio.sleep(10)
    assert a.sharing.turns - before > 90, "the count of replicas is old, what is read is not"
