"""Plugin processes that stop, and that are killed, under load."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

STREAM = BODY | {"stream": True, "max_tokens": 60, "ignore_eos": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Two replicas, whose health Envoy asks for every second."""
    environment = {"GATEWAY_DRAIN_GRACE_SECONDS": "2.5", "GATEWAY_LIMITER_TIMEOUT_SECONDS": "1"}
    options = StackOptions({"m": 2}, speed=5, replicas=2, plugin_environment=environment)
    async with open_gateway(options) as opened:
        yield opened


@asynccontextmanager
async def load(gateway: Gateway, *, clients: int = 4) -> AsyncIterator[Counter[int]]:
    """Clients that ask again and again; 0 stands for a stream that broke."""
    statuses: Counter[int] = Counter()
    stopped = asyncio.Event()

    async def client(body: dict[str, object]) -> None:
        while not stopped.is_set():
            try:
                answer = await gateway.post(body, user="kim")
                statuses[answer.status_code] += 1
            except httpx.HTTPError:
                statuses[0] += 1
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(STREAM if number % 2 else BODY))
        try:
            yield statuses
        finally:
            stopped.set()


async def eventually_idle(gateway: Gateway, replica: int) -> None:
    deadline = time.monotonic() + 5
    while True:
        pods = (await gateway.http.get(f"{gateway.stack.ops_url_of(replica)}/debug/pods")).json()
        if not any(pod["inflight_requests"] for pod in pods):
            return
        assert time.monotonic() < deadline, pods
        await asyncio.sleep(0.05)


async def test_rolling_both_replicas_loses_no_request(pair: Gateway):
    await pair.create_user("kim", rpm=100_000, tpm=100_000_000)
    async with load(pair) as statuses:
        for replica in (0, 1):
            await asyncio.sleep(1.5)
            await pair.stack.stop_plugin(replica)
            await pair.stack.start_plugin(replica)
        await asyncio.sleep(1.5)
    assert set(statuses) == {200}
    assert statuses[200] > 20
    for replica in (0, 1):
        await eventually_idle(pair, replica)


async def test_a_killed_replica_takes_no_limit_with_it(pair: Gateway):
    await pair.create_user("kim", rpm=100_000, tpm=100_000_000)
    await pair.create_user("three", rpm=3)
    assert [(await pair.post(user="three")).status_code for _ in range(4)] == [200, 200, 200, 429]
    async with load(pair) as statuses:
        await asyncio.sleep(1)
        await pair.stack.stop_plugin(0, signal.SIGKILL)
        await asyncio.sleep(1)
        await pair.stack.start_plugin(0)
        assert await pair.http.get(f"{pair.stack.ops_url}/readyz")
        await asyncio.sleep(2)
        before = statuses[200]
        await asyncio.sleep(1)
        assert statuses[200] > before
    assert set(statuses) <= {200, 500, 0}, "closed is the fail mode: 500, or the end of the stream"
    assert statuses[500] + statuses[0] <= 4, "only what the dead replica held: one request a client"
    assert (await pair.post(user="three")).status_code == 429, "limits live in Redis"
    for replica in (0, 1):
        await eventually_idle(pair, replica)


@pytest.mark.parametrize(("fail_open", "survives"), [(False, False), (True, True)])
async def test_streams_of_a_killed_plugin_follow_the_fail_mode(
    open_gateway: OpenGateway, fail_open: bool, survives: bool
):
    async with open_gateway(StackOptions({"m": 1}, redis=False, speed=2, fail_open=fail_open)) as gateway:
        url = f"{gateway.stack.gateway_url}/v1/chat/completions"
        body = STREAM | {"max_tokens": 200}
        lines: list[str] = []
        try:
            async with gateway.http.stream("POST", url, json=body) as answer:
                async for line in answer.aiter_lines():
                    lines.append(line)
                    if len(lines) == 1:
                        await gateway.stack.stop_plugin(0, signal.SIGKILL)
        except httpx.HTTPError:
            assert not survives
        assert ("data: [DONE]" in lines) is survives
