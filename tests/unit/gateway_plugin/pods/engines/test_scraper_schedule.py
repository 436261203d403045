"""When which pod is asked, in virtual time; pages come from a function. Real sockets: the integration tests."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError
from gateway_plugin.pods.engines.scraper import Scraper
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.looptime

PAGE = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n"
# The event loop's own clock resolution.
EPSILON_SECONDS = 1e-3


def now() -> float:
    return asyncio.get_running_loop().time()


def pod(host: str, **changes: object) -> PodSpec:
    return PodSpec(name=host, address=f"{host}:8000", models=("m",), **changes)  # type: ignore[arg-type]


class World:
    """A table, a scraper, and engines that note when they are asked."""

    def __init__(self, concurrency: int = 16, seed: int = 7) -> None:
        self.table = PodTable(now)
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.answers: dict[str, Callable[[], Awaitable[bytes]]] = {}
        self.open = 0
        self.most_open = 0
        self.sessions = 0
        self.scraper = Scraper(self.table, random.Random(seed), concurrency=concurrency, open_fetch=self.session)

    def serve(self, *pods: PodSpec) -> None:
        self.table.apply(ClusterState(pods, frozenset({"m"})))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        self.sessions += 1
        try:
            yield self.fetch
        finally:
            self.sessions -= 1

    async def fetch(self, url: str) -> bytes:
        host = url.removeprefix("http://").split(":")[0]
        self.asked[host].append(now())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self.answers.get(host, page)()
        finally:
            self.open -= 1

    def gaps_seconds(self, host: str, since_seconds: float = 0.0) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.asked[host]) if earlier >= since_seconds]

    def running_requests(self, host: str) -> float:
        row = self.table.row_of(f"{host}:8000")
        assert row is not None
        return float(self.table.columns.running_requests[row])


async def page() -> bytes:
    return PAGE


async def refuse() -> bytes:
    raise ScrapeError(FetchOutcome.REFUSED, "no route")


async def hang() -> bytes:
    await asyncio.sleep(1.0)
    raise ScrapeError(FetchOutcome.TIMEOUT, "no page within 1 s")


@asynccontextmanager
async def scraping(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.scraper.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.sessions == 0


async def test_a_few_pods_are_asked_at_one_moment_of_every_second() -> None:
    world = World()
    world.serve(pod("a"), pod("b"))
    async with scraping(world):
        await asyncio.sleep(100)
    for host in ("a", "b"):
        assert 0 <= world.asked[host][0] <= 1.5
        assert all(gap == pytest.approx(1.0, abs=EPSILON_SECONDS) for gap in world.gaps_seconds(host))
    assert world.asked["a"][1:-1] == pytest.approx(world.asked["b"][1:-1], abs=EPSILON_SECONDS)
    assert world.scraper.outcomes[FetchOutcome.OK] == len(world.asked["a"]) + len(world.asked["b"])


async def test_many_pods_are_spread_over_the_second() -> None:
    world = World()
    hosts = [f"pod-{number}" for number in range(80)]
    world.serve(*map(pod, hosts))
    async with scraping(world):
        await asyncio.sleep(100)
    at_moment = Counter(round(at, 2) for host in hosts for at in world.asked[host] if at > 2)
    assert len(at_moment) == pytest.approx(980, abs=10), "ten moments a second"
    assert max(at_moment.values()) < 40
    for host in hosts:
        assert all(0.8 - EPSILON_SECONDS <= gap <= 1.2 + EPSILON_SECONDS for gap in world.gaps_seconds(host, 2))


async def test_two_replicas_on_one_host_do_not_ask_at_the_same_moment() -> None:
    one, other = World(), World(seed=8)
    for world in (one, other):
        world.serve(pod("a"))
    async with scraping(one), scraping(other):
        await asyncio.sleep(10)
    assert not {round(at, 2) for at in one.asked["a"]} & {round(at, 2) for at in other.asked["a"]}


async def test_an_answer_is_written_with_the_time_of_the_answer() -> None:
    world = World()
    world.serve(pod("a"))

    async def slow() -> bytes:
        await asyncio.sleep(0.5)
        return PAGE

    world.answers["a"] = slow
    async with scraping(world):
        await asyncio.sleep(1.6)
    columns = world.table.columns
    row = world.table.row_of("a:8000")
    assert row is not None
    assert (columns.running_requests[row], columns.waiting_requests[row]) == (3.0, 1.0)
    assert np.isnan(columns.kv_usage_ratio[row])
    assert columns.polled_at_seconds[row] == pytest.approx(world.asked["a"][0] + 0.5, abs=EPSILON_SECONDS)


async def test_a_failing_pod_is_asked_less_and_less_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.serve(pod("a"))
    world.answers["a"] = refuse
    async with scraping(world):
        await asyncio.sleep(100)
        failing = world.gaps_seconds("a")
        world.answers["a"] = page
        await asyncio.sleep(30)
        healthy = world.gaps_seconds("a", 118)
    for gap, delay in zip(failing, [2, 4, 8, 15, 15, 15, 15], strict=False):
        assert delay * 0.9 - EPSILON_SECONDS <= gap <= delay * 1.1 + EPSILON_SECONDS
    assert len(failing) >= 7
    assert max(healthy) <= 1.1 + EPSILON_SECONDS
    assert [record.getMessage() for record in caplog.records] == [
        "no engine metrics of pod a from http://a:8000/metrics: refused: no route",
        "engine metrics of pod a from http://a:8000/metrics are back",
    ]
    assert world.scraper.outcomes[FetchOutcome.REFUSED] == len(failing) + 1
    assert world.running_requests("a") == 3.0


async def test_an_interval_above_the_longest_back_off_stays_the_interval() -> None:
    world = World()
    world.scraper = Scraper(world.table, random.Random(7), interval_seconds=60, open_fetch=world.session)
    world.serve(pod("a"))
    world.answers["a"] = refuse
    async with scraping(world):
        await asyncio.sleep(600)
    assert all(54 - EPSILON_SECONDS <= gap <= 66 + EPSILON_SECONDS for gap in world.gaps_seconds("a"))


async def test_hanging_pods_hold_nobody_up() -> None:
    world = World(concurrency=8)
    dead = [pod(f"dead{number}") for number in range(60)]
    world.serve(pod("a"), *dead)
    async with scraping(world):
        await asyncio.sleep(20)
        for spec in dead:
            world.answers[spec.name] = hang
        await asyncio.sleep(300)
    # Each of the dead hangs once among the healthy: 60 pods, six places, one second.
    assert max(world.gaps_seconds("a", 19)) < 12
    assert max(world.gaps_seconds("a", 35)) <= 1.25 + EPSILON_SECONDS
    assert all(len([at for at in world.asked[spec.name] if at > 100]) >= 3 for spec in dead)
    assert world.most_open <= 8


async def test_pods_come_and_go_within_an_interval() -> None:
    world = World()
    world.serve(pod("a"))
    async with scraping(world):
        await asyncio.sleep(10)
        world.serve(pod("b"))
        await asyncio.sleep(2.1)
        assert world.asked["b"]
        assert max(world.asked["a"]) <= 11.1
        world.serve()
        await asyncio.sleep(10)
    assert max(world.asked["b"]) <= 13.2


async def test_a_pod_that_is_not_ready_is_not_asked() -> None:
    world = World()
    world.serve(pod("a", ready=False))
    async with scraping(world):
        await asyncio.sleep(5)
        assert not world.asked
        world.serve(pod("a"))
        await asyncio.sleep(2.1)
    assert world.asked["a"]


async def test_the_answer_of_a_predecessor_is_dropped() -> None:
    world = World()
    world.serve(pod("a", uid="1"))
    asked, answer = asyncio.Event(), asyncio.Event()

    async def wait() -> bytes:
        asked.set()
        await answer.wait()
        return PAGE

    world.answers["a"] = wait
    async with scraping(world):
        await asked.wait()
        world.serve(pod("a", uid="2"))
        answer.set()
        await asyncio.sleep(0.01)
        assert world.scraper.outcomes[FetchOutcome.OK] == 1
        assert np.isnan(world.running_requests("a"))
        await asyncio.sleep(2.1)
        assert world.running_requests("a") == 3.0


async def test_a_successor_shares_no_differences_and_no_averages() -> None:
    world = World()
    polls = 0
    seen: list[float] = []

    async def counting() -> bytes:
        """Notes the mean that the polls before led to, if any."""
        nonlocal polls
        polls += 1
        row = world.table.row_of("a:8000")
        assert row is not None
        if not np.isnan(world.table.columns.polled_at_seconds[row]):
            seen.append(float(world.table.columns.engine_ttft_seconds[row]))
        sums = b"vllm:time_to_first_token_seconds_sum %d\nvllm:time_to_first_token_seconds_count %d\n"
        return sums % (2 * polls, polls)

    world.answers["a"] = counting
    async with scraping(world):
        for uid in ("1", "2"):
            world.serve(pod("a", uid=uid))
            seen.clear()
            await asyncio.sleep(10)
            assert len(seen) > 5
            assert np.isnan(seen[0])
            assert seen[1:] == pytest.approx([2.0] * (len(seen) - 1))


async def test_the_address_and_the_engine_decide_on_the_page() -> None:
    world = World()
    urls: list[str] = []

    async def fetch(url: str) -> bytes:
        urls.append(url)
        return b"<html>"

    world.fetch = fetch  # type: ignore[method-assign]
    world.serve(
        PodSpec(name="v6", address="[fd00::1]:8000", models=("m",), metrics_address="[fd00::1]:9000"),
        PodSpec(name="trt", address="10.0.0.1:8000", models=("m",), engine="trtllm"),
    )
    async with scraping(world):
        await asyncio.sleep(1.5)
    assert set(urls) == {"http://[fd00::1]:9000/metrics", "http://10.0.0.1:8000/prometheus/metrics"}
    assert world.scraper.outcomes[FetchOutcome.BAD_PAGE] == 2


async def test_a_new_metrics_address_is_followed() -> None:
    world = World()
    world.serve(pod("a", metrics_address="old:1"))
    async with scraping(world):
        await asyncio.sleep(5)
        world.serve(pod("a", metrics_address="new:1"))
        await asyncio.sleep(5)
    assert max(world.asked["old"]) <= 6.1
    assert len(world.asked["new"]) >= 3


async def test_a_programming_error_is_not_swallowed() -> None:
    world = World()
    world.serve(pod("a"))

    async def broken() -> bytes:
        raise ZeroDivisionError

    world.answers["a"] = broken
    with pytest.raises(ExceptionGroup) as caught:
        await world.scraper.run()
    assert caught.group_contains(ZeroDivisionError)
    assert world.sessions == 0
