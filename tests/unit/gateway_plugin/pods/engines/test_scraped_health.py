"""What scrapes say about the health of a pod."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import first_of, read_page
from gateway_plugin.pods.engines.scraper import Scraper
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNNING = b"vllm:num_requests_running 3\n"
AWAKE = b'vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="awake"} %d\n'
ASLEEP_PAGE = (
    RUNNING
    + AWAKE % 0
    + b'vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="weights_offloaded"} 1\n'
    + b'vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="discard_all"} 0\n'
)


class World:
    """One pod and what its metrics page is."""

    def __init__(self, metrics_address: str = "") -> None:
        self.table = PodTable(lambda: asyncio.get_running_loop().time())
        self.serve(metrics_address)
        self.page: bytes | ScrapeError = RUNNING
        self.scraper = Scraper(self.table, random.Random(7), open_fetch=self.session)

    def serve(self, metrics_address: str = "") -> None:
        pod = PodSpec(name="a", address="a:8000", models=("m",), metrics_address=metrics_address)
        self.table.apply(ClusterState((pod,), frozenset()))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        yield self.fetch

    async def fetch(self, _: str) -> bytes:
        if isinstance(self.page, ScrapeError):
            raise self.page
        return self.page

    def failures(self) -> dict[Failure, int]:
        circuit = self.table.health.circuit(0)
        return {} if circuit is None else dict(circuit.failures)


@asynccontextmanager
async def scraping(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.scraper.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("outcome", "status", "failure", "seconds"),
    [
        (FetchOutcome.REFUSED, 0, Failure.SCRAPE_REFUSED, 4),  # two: at 1 and 3 s, plus jitter
        (FetchOutcome.TIMEOUT, 0, Failure.SCRAPE_TIMEOUT, 36),  # five: 0, 2, 6, 14, 29 s
        (FetchOutcome.BAD_STATUS, 503, Failure.UNAVAILABLE, 2),
    ],
)
async def test_a_pod_that_is_gone_is_found_without_any_request(
    outcome: FetchOutcome, status: int, failure: Failure, seconds: float
) -> None:
    world = World()
    world.page = ScrapeError(outcome, "no", status)
    async with scraping(world):
        await asyncio.sleep(seconds)
        assert world.table.health.describe(0) == "open"
        assert set(world.failures()) == {failure}


@pytest.mark.looptime
@pytest.mark.parametrize(("outcome", "status"), [(FetchOutcome.BAD_PAGE, 0), (FetchOutcome.BAD_STATUS, 404)])
async def test_a_strange_page_is_no_sickness(outcome: FetchOutcome, status: int) -> None:
    world = World()
    world.page = ScrapeError(outcome, "no", status)
    async with scraping(world):
        await asyncio.sleep(300)
    assert world.failures() == {}


@pytest.mark.looptime
async def test_an_exporter_beside_the_pod_does_not_speak_for_it() -> None:
    world = World(metrics_address="a:9000")
    world.page = ScrapeError(FetchOutcome.REFUSED, "no")
    async with scraping(world):
        await asyncio.sleep(300)
    assert world.failures() == {}


@pytest.mark.looptime
async def test_a_sleeping_engine_is_known_and_its_waking_too() -> None:
    world = World()
    world.page = ASLEEP_PAGE
    async with scraping(world):
        await asyncio.sleep(1.2)
        assert world.table.health.describe(0) == "asleep"
        world.page = RUNNING + AWAKE % 1
        await asyncio.sleep(1.2)
        assert world.table.health.describe(0) == "closed"
        world.page = ASLEEP_PAGE
        await asyncio.sleep(1.2)
        world.page = RUNNING  # an older engine took its place
        await asyncio.sleep(1.2)
        assert world.table.health.describe(0) == "closed"


@pytest.mark.parametrize(
    ("page", "awake"),
    [
        (AWAKE % 1, 1.0),
        (ASLEEP_PAGE, 0.0),
        (AWAKE % 0 + AWAKE.replace(b'"0"', b'"1"') % 1, 1.0),
        (b"vllm:engine_sleep_state 0\n", None),
        (RUNNING, None),
    ],
)
def test_ranks_that_are_awake_are_counted(page: bytes, awake: float | None) -> None:
    engine = engine_named("vllm")
    assert first_of(engine.awake, read_page(page, engine)) == awake
