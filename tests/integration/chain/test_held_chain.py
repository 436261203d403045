"""A model without pods, through a real Envoy: a request that waits longer than Envoy's usual patience is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
PATIENCE_SECONDS = 5.0
"""Envoy's `message_timeout`."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waking(open_gateway: OpenGateway, flavour: str) -> AsyncIterator[Gateway]:
    if flavour != "standalone":
        pytest.skip("Envoy Gateway has no field for max_message_timeout")
    environment = {"GATEWAY_HELD_REQUESTS": "10", "GATEWAY_HELD_SECONDS": "30"}
    envoy = {"max_message_timeout_seconds": 40.0}
    options = StackOptions({"m": 1}, speed=50, plugin_environment=environment, envoy=envoy)
    async with open_gateway(options) as opened:
        yield opened


def exchange_pods(gateway: Gateway, addresses: list[dict[str, str]]) -> list[dict[str, str]]:
    """Writes the model's pods anew; returns those of before."""
    path = Path(gateway.stack.endpoints_file)
    endpoints = yaml.safe_load(path.read_text())
    before: list[dict[str, str]] = endpoints["models"][0]["endpoints"]
    endpoints["models"][0]["endpoints"] = addresses
    path.write_text(yaml.safe_dump(endpoints))
    return before


async def test_a_held_request_is_answered_when_the_first_pod_comes(waking: Gateway):
    before = exchange_pods(waking, [])
    for _ in range(100):
        if not await waking.pods():
            break
        await asyncio.sleep(0.1)
    calls = [asyncio.create_task(waking.post()) for _ in range(5)]
    await asyncio.sleep(PATIENCE_SECONDS + 1)
    load = (await waking.http.get(f"{waking.stack.ops_url_of(0)}/load")).json()
    assert load["models"]["m"]["held"] == 5
    assert not any(call.done() for call in calls)
    exchange_pods(waking, before)
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert all(float(answer.headers["x-held-seconds"]) > PATIENCE_SECONDS for answer in answers)
    assert await waking.inflight() == 0
