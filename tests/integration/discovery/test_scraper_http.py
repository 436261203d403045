"""The scraper against real HTTP servers on loopback."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from gateway_plugin.pods.engines.scraper import Scraper
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = b"vllm:num_requests_running 3\r\nvllm:kv_cache_usage_perc 0.5\r\n"
MAX_PAGE_BYTES = 100_000


async def ok(request: web.Request) -> web.StreamResponse:
    assert request.headers["Accept"].startswith("text/plain")
    return web.Response(body=PAGE)


async def broken(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500, body=PAGE)


async def moved(request: web.Request) -> web.StreamResponse:
    return await ok(request) if request.query else web.Response(status=302, headers={"Location": "/metrics?at=here"})


async def hanging(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(PAGE * 1000)


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(PAGE)
    assert request.transport is not None
    request.transport.abort()
    return response


async def words(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>not metrics</html>")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def engine(handler: Handler, host: str) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/metrics", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        port = runner.addresses[0][1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
def table() -> PodTable:
    return PodTable(lambda: 50.0)


def serve(table: PodTable, address: str, uid: str = "1") -> int:
    table.apply(ClusterState((PodSpec(name="a", address=address, models=("m",), uid=uid),), frozenset({"m"})))
    row = table.row_of(address)
    assert row is not None
    return row


async def scrape_once(table: PodTable, interval_seconds: float = 0.01) -> dict[str, int]:
    """Runs until something came of a scrape; what came of it."""
    scraper = Scraper(
        table,
        random.Random(3),
        interval_seconds=interval_seconds,
        timeout_seconds=0.3,
        max_page_bytes=MAX_PAGE_BYTES,
    )
    task = asyncio.create_task(scraper.run())
    while not any(scraper.outcomes.values()):  # noqa: ASYNC110 - the scraper tells nobody
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return {outcome.value: count for outcome, count in scraper.outcomes.items() if count}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))]
)
async def test_a_page_reaches_the_table(table: PodTable, host: str) -> None:
    async with engine(ok, host) as address:
        row = serve(table, address)
        table.book(row)
        assert list(await scrape_once(table)) == ["ok"]
    columns = table.columns
    assert (columns.running_requests[row], columns.kv_usage_ratio[row]) == (3.0, 0.5)
    assert np.isnan(columns.waiting_requests[row])
    assert columns.polled_at_seconds[row] == 50.0
    assert (columns.inflight_requests[row], columns.booked_requests_since_poll[row]) == (1, 0)


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (broken, "bad_status"),
        (moved, "bad_status"),
        (hanging, "timeout"),
        (endless, "too_large"),
        (cut, "refused"),
        (words, "bad_page"),
    ],
)
async def test_failures_write_nothing(table: PodTable, handler: Handler, outcome: str) -> None:
    async with engine(handler, "127.0.0.1") as address:
        row = serve(table, address)
        assert list(await scrape_once(table)) == [outcome]
    assert np.isnan(table.columns.polled_at_seconds[row])
    assert np.isnan(table.columns.running_requests[row])


async def test_nobody_listens(table: PodTable) -> None:
    with socket.socket() as unused:  # bound, but not listening
        unused.bind(("127.0.0.1", 0))
        serve(table, f"127.0.0.1:{unused.getsockname()[1]}")
        assert list(await scrape_once(table)) == ["refused"]


async def test_an_address_that_is_none(table: PodTable) -> None:
    serve(table, "127.0.0.1:99999")
    assert list(await scrape_once(table)) == ["refused"]


async def test_the_pod_was_replaced_while_it_was_asked(table: PodTable) -> None:
    async def replaced(request: web.Request) -> web.StreamResponse:
        serve(table, request.host, uid="2")
        return web.Response(body=PAGE)

    async with engine(replaced, "127.0.0.1") as address:
        row = serve(table, address)
        first = table.incarnation(row)
        # A long interval: the successor is not asked within the test.
        assert await scrape_once(table, interval_seconds=0.5) == {"ok": 1}
    assert table.incarnation(row) != first
    assert np.isnan(table.columns.polled_at_seconds[row])
