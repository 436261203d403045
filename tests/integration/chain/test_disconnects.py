"""Clients that go away, and parts that do: nothing stays booked."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

STREAM = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 5000,
    "ignore_eos": True,
    "stream": True,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """A stack whose parts may be stopped."""
    environment = {"GATEWAY_LIMITER_TIMEOUT_SECONDS": "0.05"}
    async with open_gateway(StackOptions({"m": 2}, speed=1, plugin_environment=environment)) as opened:
        yield opened


async def abort_after(gateway: Gateway, chunks: int) -> None:
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"
    async with gateway.http.stream("POST", url, json=STREAM) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        for _ in range(chunks):
            await anext(lines)


async def none_in_flight(gateway: Gateway) -> None:
    deadline = time.monotonic() + 5
    while inflight := await gateway.inflight():
        assert time.monotonic() < deadline, f"{inflight} requests stay in flight"
        await asyncio.sleep(0.05)
    assert await gateway.metric("gateway_in_flight_requests") == 0
    assert await gateway.metric("gateway_model_in_flight_requests", model="m") == 0


async def test_two_hundred_aborted_streams_leave_nothing_in_flight(own: Gateway):
    for _ in range(4):
        await asyncio.gather(*(abort_after(own, chunks) for chunks in [0, 1, 2, 3, 5] * 10))
    await none_in_flight(own)
    assert sum(pod["requests_total"] for pod in await own.pods()) == 200


async def test_a_client_that_leaves_before_its_body_is_complete(own: Gateway):
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", own.stack.ports.gateway)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await none_in_flight(own)
    assert (await own.post()).status_code == 200


async def test_a_store_that_goes_away_is_replaced_and_comes_back(own: Gateway):
    await own.create_user("kim", rpm=1000)
    await own.create_user("three", rpm=3)
    assert (await own.post(user="kim")).status_code == 200
    assert (await own.post(user="three")).status_code == 200
    stopped = asyncio.Event()
    waits: list[float] = []

    async def load() -> None:
        while not stopped.is_set():
            started = time.monotonic()
            answer = await own.post(user="kim")
            waits.append(time.monotonic() - started)
            assert answer.status_code == 200, answer.text

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(load())
        await asyncio.sleep(0.5)
        await own.stack.stop_redis()
        await asyncio.sleep(0.5)
        ready = await own.http.get(f"{own.stack.ops_url}/readyz")
        assert ready.status_code == 200
        assert ready.json()["checks"]["limiter"].startswith("store_down: local")
        statuses = [(await own.post(user="three")).status_code for _ in range(4)]
        assert 429 in statuses, "the last known limits hold"
        await own.stack.start_redis()
        await asyncio.sleep(2)
        ready = await own.http.get(f"{own.stack.ops_url}/readyz")
        assert ready.json()["checks"]["limiter"] == "ok", "two seconds after its return the store decides again"
        stopped.set()
    assert len(waits) > 20
    assert max(waits) < 2, "an answer takes a fraction of a second; nobody waits for the store"
    await own.create_user("two", rpm=2)
    assert [(await own.post(user="two")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_stopping_plugin_lets_streams_finish(own: Gateway):
    body = STREAM | {"max_tokens": 100}
    url = f"{own.stack.gateway_url}/v1/chat/completions"
    async with own.http.stream("POST", url, json=body) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        stopping = asyncio.create_task(own.stack.plugin.stop(signal.SIGTERM))
        rest = [line async for line in lines if line]
    await stopping
    assert rest[-1] == "data: [DONE]"
    assert len(rest) >= 100


async def test_without_the_plugin_requests_fail_in_json(own: Gateway):
    await own.stack.stop_plugin()
    answer = await own.post(model="m")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == "gateway_plugin_unavailable"
    await own.stack.start_plugin()
    deadline = time.monotonic() + 10
    while (answer := await own.post()).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
