"""More requests than the pods may have: a short wait where the operator allows it, else a clear refusal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

LONG = BODY | {"stream": True, "max_tokens": 5000, "ignore_eos": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Two pods, one request each; two more may wait."""
    environment = {
        "GATEWAY_MAX_INFLIGHT_PER_POD": "1",
        "GATEWAY_QUEUE_LENGTH": "2",
        "GATEWAY_QUEUE_SECONDS": "4",
    }
    options = StackOptions({"m": 2}, redis=False, plugin_environment=environment)
    async with open_gateway(options) as opened:
        yield opened


async def hold(gateway: Gateway, stack: AsyncExitStack) -> None:
    """Opens a stream that stays open until the stack closes it."""
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"
    answer = await stack.enter_async_context(gateway.http.stream("POST", url, json=LONG))
    assert answer.status_code == 200
    lines = answer.aiter_lines()
    # An abandoned generator would end the stream.
    stack.push_async_callback(lines.aclose)  # type: ignore[attr-defined]  # httpx calls it an iterator only
    await anext(lines)


async def test_two_wait_and_the_third_is_refused(narrow: Gateway):
    async with AsyncExitStack() as held:
        await hold(narrow, held)
        await hold(narrow, held)
        waiting = [asyncio.create_task(narrow.post()) for _ in range(2)]
        deadline = time.monotonic() + 3
        while await narrow.metric("gateway_waiting_requests", model="m") < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        refused = await narrow.post()
        assert not any(task.done() for task in waiting)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    error = refused.json()["error"]
    assert (error["code"], error["message"]) == ("overloaded", "all pods of model m are busy, try again")
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert await narrow.metric("gateway_rejections_total", reason="overloaded", status="503") == 1
    assert await narrow.metric("gateway_waiting_requests", model="m") == 0


async def test_a_wait_in_vain_ends_in_time(narrow: Gateway):
    async with AsyncExitStack() as held:
        await hold(narrow, held)
        await hold(narrow, held)
        started = time.monotonic()
        answer = await narrow.post()
        assert time.monotonic() - started >= 4
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "no pod had room in time, try again"
