"""When sick pods are looked at, in virtual time, and what the answers mean."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError
from gateway_plugin.pods.engines.health_checks import HealthChecks
from routing.pods.circuit import CircuitState, Failure
from routing.pods.pod_health import PodHealth
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class World:
    """Pods whose `/health` answers what `answers` says: a status, or an outcome of not answering."""

    def __init__(self, count: int = 2) -> None:
        self.health = PodHealth(now, random.Random(5))
        self.table = PodTable(now, health=self.health)
        self.answers: dict[str, int | FetchOutcome] = {}
        self.asked: list[tuple[str, float]] = []
        self.serve(count)
        self.checks = HealthChecks(self.table, open_fetch=self.session)

    def serve(self, count: int, uid: str = "") -> None:
        pods = tuple(PodSpec(f"p{n}", f"p{n}:8000", ("m",), uid=uid) for n in range(count))
        self.table.apply(ClusterState(pods, frozenset()))

    def row(self, name: str) -> int:
        row = self.table.row_of(f"{name}:8000")
        assert row is not None
        return row

    def fail(self, name: str) -> None:
        self.health.failed(self.row(name), Failure.UNAVAILABLE)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        yield self.fetch

    async def fetch(self, url: str) -> bytes:
        self.asked.append((url, now()))
        answer = self.answers.get(url.removeprefix("http://").split(":")[0], 200)
        if answer is FetchOutcome.TIMEOUT:
            await asyncio.sleep(1.0)
        if answer == 200:
            return b""
        status = answer if isinstance(answer, int) else 0
        raise ScrapeError(FetchOutcome.BAD_STATUS if status else FetchOutcome(str(answer)), "no", status)


@asynccontextmanager
async def checking(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.checks.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_healthy_pods_are_never_asked() -> None:
    world = World()
    async with checking(world):
        await asyncio.sleep(60)
    assert world.asked == []


@pytest.mark.parametrize("answer", [200, 404, 401, FetchOutcome.TOO_LARGE])
async def test_any_answer_below_500_passes(answer: int | FetchOutcome) -> None:
    world = World()
    world.answers["p0"] = answer
    async with checking(world):
        world.fail("p0")
        await asyncio.sleep(1.3)
    assert world.health.state(world.row("p0")) is CircuitState.HALF_OPEN
    assert [url for url, _ in world.asked] == ["http://p0:8000/health"]
    assert world.checks.outcomes == {"passed": 1, "failed": 0}


@pytest.mark.parametrize("answer", [500, 503, FetchOutcome.REFUSED, FetchOutcome.TIMEOUT])
async def test_other_answers_put_the_next_look_off(answer: int | FetchOutcome) -> None:
    world = World()
    world.answers["p0"] = answer
    async with checking(world):
        world.fail("p0")
        await asyncio.sleep(300)
        assert world.health.state(world.row("p0")) is CircuitState.OPEN
        gaps = [later - earlier for (_, earlier), (_, later) in zip(world.asked, world.asked[1:], strict=False)]
        assert all(gap <= 30 + 1 + 0.3 for gap in gaps)
        assert min(gaps[5:]) >= 15
        world.answers["p0"] = 200
        await asyncio.sleep(32)
    assert world.health.state(world.row("p0")) is CircuitState.HALF_OPEN


async def test_pods_that_hang_hold_the_others_up_for_a_bounded_time() -> None:
    world = World(60)
    for number in range(1, 60):
        world.answers[f"p{number}"] = FetchOutcome.TIMEOUT
    async with checking(world):
        for number in range(60):
            world.fail(f"p{number}")
        await asyncio.sleep(6)
    assert world.health.state(world.row("p0")) is CircuitState.HALF_OPEN


async def test_an_answer_of_a_predecessor_says_nothing_of_its_successor(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.answers["p0"] = FetchOutcome.TIMEOUT
    caplog.set_level(logging.INFO)
    async with checking(world):
        world.fail("p0")
        await asyncio.sleep(1.3)
        assert world.asked
        world.serve(2, uid="new")
        await asyncio.sleep(10)
    assert world.health.state(world.row("p0")) is CircuitState.CLOSED
    assert len(world.asked) == 1
    assert len(caplog.records) == 1


async def test_changes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    caplog.set_level(logging.INFO)
    async with checking(world):
        world.fail("p0")
        await asyncio.sleep(2)
        circuit = world.health.circuit(world.row("p0"))
        assert circuit is not None
        circuit.probe("c", lambda: False)
        world.health.succeeded(world.row("p0"), "c")
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("pod p0 is sick (unavailable); next look in ")
    assert messages[1:] == ["pod p0 answers; the next request is its probe", "pod p0 is well"]
