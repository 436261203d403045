"""`release: access_log`: no gRPC stream is held while a pod answers; the log frees the pod."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
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
async def parking(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    environment = {"GATEWAY_RELEASE": "access_log"}
    async with open_gateway(StackOptions({"m": 2}, redis=False, plugin_environment=environment)) as opened:
        yield opened


async def until_in_flight(gateway: Gateway, count: int) -> None:
    deadline = time.monotonic() + 5
    while (found := await gateway.inflight()) != count:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def test_the_log_frees_the_pod_of_a_stream_that_was_cut(parking: Gateway):
    url = f"{parking.stack.gateway_url}/v1/chat/completions"
    async with parking.http.stream("POST", url, json=LONG) as answer:
        assert answer.status_code == 200
        assert await parking.inflight() == 1
        assert await parking.envoy_stat("cluster.gateway_plugin.upstream_rq_active") <= 2, "log streams, no exchange"
    await until_in_flight(parking, 0)


async def test_the_log_frees_the_pod_of_a_request_that_is_done(parking: Gateway):
    assert (await parking.post()).status_code == 200
    await until_in_flight(parking, 0)


async def test_what_the_gateway_refuses_holds_nothing(parking: Gateway):
    assert (await parking.post({"model": "nobody"})).status_code == 400
    assert await parking.inflight() == 0
