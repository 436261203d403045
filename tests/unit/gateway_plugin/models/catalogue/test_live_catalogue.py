"""The catalogue while it lives, in virtual time: how soon a change is seen, who leads, what listeners get."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.changes import Change
from gateway_plugin.models.catalogue.registry import ALIAS, Alias, encode_alias
from gateway_plugin.models.live.event_ring import EventRing
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store import LEAD_SECONDS
from gateway_plugin.models.store.registry_in_file import MemoryCatalogueStore
from gateway_plugin.models.webhooks.dispatcher import Dispatcher
from gateway_plugin.models.webhooks.records import DeadLetter, Webhook, encode
from gateway_plugin.pods.engines.known_models import KnownModels
from ratelimit import StoreUnavailable
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState
from tests.unit.gateway_plugin.models.catalogue.catalogue_rig import pod

WEBHOOK = Webhook("wh", "https://hooks.example/", "a-secret-of-sixteen")


def now() -> float:
    return asyncio.get_running_loop().time()


class SharedStore(MemoryCatalogueStore):
    """As a server would be: several replicas, one leader, and it may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.leader, self.until, self.is_away = "", 0.0, False

    async def lead(self, replica: str) -> bool:
        self._check()
        if self.leader not in ("", replica) and now() < self.until:
            return False
        self.leader, self.until = replica, now() + LEAD_SECONDS
        return True

    async def versions(self) -> dict[str, int]:
        self._check()
        return dict(await super().versions())

    async def close(self) -> None:
        self.leader = ""

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("store", "away")


class Replica:
    def __init__(self, store: SharedStore, name: str = "one") -> None:
        self.table = PodTable(now)
        self.known = KnownModels(self.table.apply)
        self.sent: list[str] = []
        sources = Sources(self.table, self.known)
        self.live = LiveCatalogue(Catalogue(now, 100.0), sources, store, name, now, now)
        self.live.dispatcher = Dispatcher(self._send, self._bury, random.Random(7))

    def serve(self, *numbers: int) -> None:
        self.known.discovered(ClusterState(tuple(pod(number) for number in numbers), frozenset()))

    async def _send(self, webhook: Webhook, event_id: str, body: bytes) -> None:
        kind = body.partition(b'"type":"')[2].partition(b'"')[0].decode()
        self.sent.append(kind)

    async def _bury(self, letters: list[DeadLetter]) -> None:
        raise AssertionError(letters)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LiveCatalogue]:
        await self.live.load()
        task = asyncio.create_task(self.live.run())
        yield self.live
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self.live.dispatcher is not None:
            await self.live.dispatcher.stop()
        await self.live.close()


@pytest.mark.looptime
async def test_changes_are_seen_within_a_second():
    replica = Replica(SharedStore())
    replica.serve(1)
    gone: list[str] = []
    replica.live.removed.append(gone.append)
    async with replica.running() as live:
        await asyncio.sleep(3.33)
        replica.serve(1, 2)
        await asyncio.sleep(0.21)
        assert live.snapshot.by_id["m"].facts.total_pods == 2
        replica.table.health.failed(0, Failure.UNAVAILABLE)
        await asyncio.sleep(0.21)
        assert live.snapshot.by_id["m"].facts.status.value == "degraded"
        replica.serve()
        await asyncio.sleep(98)
        assert gone == []
        await asyncio.sleep(3)
        assert len(live.snapshot) == 0
        assert gone == ["m"]


@pytest.mark.looptime
async def test_the_first_look_is_no_news_but_what_follows_is():
    replica = Replica(SharedStore())
    await replica.live.store.write("webhooks", {"wh": encode(WEBHOOK)})
    replica.serve(1)
    async with replica.running() as live:
        await asyncio.sleep(2)
        assert live.events.newest == 0
        replica.serve(1, 2)
        await asyncio.sleep(1)
        assert live.events.newest == 1
        assert replica.sent == ["model.pods_changed"]


@pytest.mark.looptime
async def test_one_replica_sends_and_its_successor_tells_what_nobody_told():
    store = SharedStore()
    one, two = Replica(store, "one"), Replica(store, "two")
    await store.write("webhooks", {"wh": encode(WEBHOOK)})
    one.serve(1)
    two.serve(1)
    async with two.running():
        await asyncio.sleep(0.1)
        await two.live._lead()
        async with one.running():
            await asyncio.sleep(5)
            assert store.leader == "two"
            for replica in (one, two):
                replica.serve(1, 2)
            await asyncio.sleep(2)
            assert (one.sent, two.sent) == ([], ["model.pods_changed"])
            # "two" dies, and while nobody leads, the model loses its pods.
            two.live._keeper.lead = no_lead  # type: ignore[method-assign]
            two.live._keeper._leads_until_seconds = 0.0
            for replica in (one, two):
                replica.serve()
            await asyncio.sleep(10)
            assert store.leader == "one"
            assert one.sent == ["model.status_changed"]
            assert two.sent == ["model.pods_changed"]


async def no_lead() -> None:
    return None


@pytest.mark.looptime
async def test_what_others_change_is_seen_and_an_outage_is_survived():
    store = SharedStore()
    one, two = Replica(store, "one"), Replica(store, "two")
    one.serve(1)
    async with one.running(), two.running():
        await asyncio.sleep(1)
        await one.live.change("registry", {ALIAS + "a": encode_alias(Alias("m"))})
        assert one.live.names.resolve("a", "").model == "m"
        await asyncio.sleep(1.1)
        assert two.live.names.resolve("a", "").model == "m"
        store.is_away = True
        await asyncio.sleep(60)
        assert two.live.names.resolve("a", "").model == "m", "what is known holds"
        store.is_away = False
        await one.live.change("registry", {}, [ALIAS + "a"])
        await asyncio.sleep(1.1)
        assert two.live.names.resolve("a", "").model == "a"


def change(_: int = 0) -> Change:
    return Change(None, None)


async def test_a_ring_tells_who_was_too_slow():
    ring = EventRing(lambda: 0.0, size=3)
    assert ring.since(0) == []
    added = ring.add([change() for _ in range(3)])
    assert [one.number for one in ring.since(1) or []] == [2, 3]
    assert ring.place_of(f"{added[1].id}-0") == 2
    ring.add([change(), change()])
    assert ring.since(1) is None
    assert [one.number for one in ring.since(2) or []] == [3, 4, 5]
    for foreign in ("", "evt_", "evt_1234_1", "7", "evt_x_y-z"):
        assert ring.place_of(foreign) is None


@pytest.mark.looptime
async def test_listeners_wake_for_news_for_the_end_and_for_silence():
    ring = EventRing(lambda: 0.0)
    waiting = asyncio.create_task(ring.wait(0, 15.0))
    await asyncio.sleep(1.0)
    ring.add([change()])
    await waiting
    assert now() == pytest.approx(1.0, abs=0.01)
    await ring.wait(1, 15.0)
    assert now() == pytest.approx(16.0, abs=0.01)
    waiting = asyncio.create_task(ring.wait(1, 15.0))
    await asyncio.sleep(1.0)
    ring.close()
    await waiting
    assert now() == pytest.approx(17.0, abs=0.01)
