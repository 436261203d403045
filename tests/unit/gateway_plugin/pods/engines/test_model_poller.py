"""When engines are asked what they serve, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError
from gateway_plugin.pods.engines.known_models import KnownModels, ModelCard
from gateway_plugin.pods.engines.model_poller import ModelPoller
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class World:
    def __init__(self, *hosts: str) -> None:
        self.table = PodTable(now)
        self.known = KnownModels(self.table.apply)
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.lists: dict[str, bytes | Exception] = {}
        self.versions: dict[str, bytes | Exception] = {}
        self.hangs: set[str] = set()
        self.serve(*hosts)
        self.poller = ModelPoller(self.table, self.known, random.Random(7), open_fetch=self.session)

    def serve(self, *hosts: str) -> None:
        pods = tuple(PodSpec(host, f"{host}:8000", ("m",)) for host in hosts)
        self.known.discovered(ClusterState(pods, frozenset()))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        yield self.fetch

    async def fetch(self, url: str) -> bytes:
        host, path = url.removeprefix("http://").split(":8000")
        self.asked[host + path].append(now())
        if host in self.hangs:
            await asyncio.sleep(2.0)
            raise ScrapeError(FetchOutcome.TIMEOUT, "no page within 2 s")
        default = b'{"version": "1"}' if path == "/version" else b'{"data": [{"id": "m"}]}'
        answer = (self.versions if path == "/version" else self.lists).get(host, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.poller.run(), seconds)


async def test_a_pod_is_asked_at_once_and_then_every_interval():
    world = World("a")
    await world.run(16.0)
    times = world.asked["a/v1/models"]
    assert times[0] < 0.1
    assert all(4.5 <= later - earlier <= 5.5 for earlier, later in itertools.pairwise(times))
    assert len(world.asked["a/version"]) == 1, "the version of a pod does not change"
    assert world.poller.settled
    report = world.known.report("a:8000")
    assert report is not None
    assert (report.cards, report.version) == ((ModelCard("m"),), "1")


async def test_a_failure_changes_nothing_that_is_known():
    world = World("a")
    world.lists["a"] = json.dumps({"data": [{"id": "m"}, {"id": "sql", "parent": "m"}]}).encode()
    task = asyncio.create_task(world.run(60.0))
    await asyncio.sleep(1.0)
    assert world.table.knows("sql")
    world.lists["a"] = b"<html>"
    await asyncio.sleep(10.0)
    world.lists["a"] = ScrapeError(FetchOutcome.REFUSED, "gone")
    await asyncio.sleep(10.0)
    assert world.table.knows("sql")
    await task


async def test_engines_that_hang_delay_nobody_else_and_are_asked_less_often():
    hanging = [f"h{number}" for number in range(40)]
    world = World(*hanging, "a")
    world.hangs = set(hanging)
    await world.run(120.0)
    assert len(world.asked["a/v1/models"]) >= 20
    assert len(world.asked["h0/version"]) <= 6


async def test_an_engine_without_versions_still_tells_its_models():
    world = World("a")
    world.versions["a"] = ScrapeError(FetchOutcome.BAD_STATUS, "status 404")
    await world.run(1.0)
    assert world.known.report("a:8000") is not None


async def test_pods_that_come_are_asked_and_those_that_go_are_not():
    world = World("a")
    task = asyncio.create_task(world.run(30.0))
    await asyncio.sleep(1.0)
    world.serve("b")
    await asyncio.sleep(1.0)
    asked = len(world.asked["a/v1/models"])
    assert world.asked["b/v1/models"][0] < 1.5
    await task
    assert len(world.asked["a/v1/models"]) == asked


@pytest.mark.parametrize("answer", [None, ScrapeError(FetchOutcome.TIMEOUT, "none"), b"[]"])
async def test_a_pod_that_goes_while_it_is_asked_ends_nothing(answer: bytes | Exception | None):
    world = World("a", "b")
    if answer is not None:
        world.lists["a"] = answer
    slow = world.fetch

    async def fetch(url: str) -> bytes:
        await asyncio.sleep(1.0)
        return await slow(url)

    world.fetch = fetch  # type: ignore[method-assign]  # every answer takes a second
    task = asyncio.create_task(world.run(120.0))
    for second in range(100):
        await asyncio.sleep(0.77)
        world.serve(*("b", "a")[: 1 + second % 2])
        assert not task.done()
    await task
    assert world.known.report("b:8000") is not None


async def test_what_contradicts_the_configuration_is_found_and_forgotten():
    world = World("a", "b")
    world.lists["a"] = b'{"data": [{"id": "other"}]}'
    world.lists["b"] = ScrapeError(FetchOutcome.BAD_STATUS, "status 401", 401)
    task = asyncio.create_task(world.run(100.0))
    await asyncio.sleep(30.0)
    assert [(one.about, one.code) for one in world.poller.findings.all()] == [("a", "NotServed"), ("b", "KeyWanted")]
    del world.lists["a"]
    await asyncio.sleep(10.0)
    assert [one.about for one in world.poller.findings.all()] == ["b"]
    world.serve("a")
    await asyncio.sleep(1.0)
    assert world.poller.findings.all() == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
