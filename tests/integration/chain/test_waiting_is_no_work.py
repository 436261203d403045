"""Requests whose bodies do not come, by the hundred, beside clients that behave: through Envoy, in both flavours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.h2_client import Answer, H2Client

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def small(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Five requests at work fill it; 150 may upload, for two seconds by the plugin's own clock."""
    environment = {
        "GATEWAY_MAX_INFLIGHT_EXCHANGES": "5",
        "GATEWAY_MAX_UPLOADS_PER_SOURCE": "150",
        "GATEWAY_UPLOAD_SECONDS": "2",
    }
    async with open_gateway(StackOptions({"m": 2}, redis=False, speed=50, plugin_environment=environment)) as opened:
        yield opened


@asynccontextmanager
async def half_sent(gateway: Gateway, connections: int, requests: int) -> AsyncIterator[list[tuple[H2Client, int]]]:
    """Requests that begin and do not go on."""
    clients = [await H2Client.connect(gateway.stack.ports.gateway) for _ in range(connections)]
    opened = []
    for client in clients:
        for _ in range(requests):
            stream_id = client.begin(headers={"content-length": "500"})
            client.send(stream_id, b'{"model"')
            opened.append((client, stream_id))
        await client.flush()
    try:
        yield opened
    finally:
        for client in clients:
            await client.close()


async def until_uploading(gateway: Gateway, number: int) -> None:
    async with asyncio.timeout(10):
        while await gateway.metric("gateway_exchanges", state="uploading") != number:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def test_others_are_served_while_one_client_sends_nothing(small: Gateway):
    async with half_sent(small, connections=2, requests=60):
        await until_uploading(small, 120)
        assert await small.metric("gateway_exchanges", state="working") == 0
        assert await small.metric("gateway_exchanges_max", state="working") == 5
        for _ in range(5):
            assert (await small.post()).status_code == 200
    await until_uploading(small, 0)


async def test_a_source_has_its_share_of_places_and_the_time_is_bounded(small: Gateway):
    async with half_sent(small, connections=2, requests=90) as opened:
        answers: list[Answer] = await asyncio.gather(*(client.answer(stream) for client, stream in opened))
    by_status = {status: [a for a in answers if a.status == status] for status in (503, 408)}
    assert {status: len(found) for status, found in by_status.items()} == {503: 30, 408: 150}
    assert json.loads(by_status[503][0].body)["error"]["code"] == "overloaded"
    # Envoy's own deadline is longer here: this is the plugin's.
    assert json.loads(by_status[408][0].body)["error"]["code"] == "request_timeout"
    assert await small.metric("gateway_exchanges", state="uploading") == 0
    assert (await small.post()).status_code == 200


async def test_large_bodies_are_bounded_as_they_are_announced(open_gateway: OpenGateway):
    environment = {"GATEWAY_UPLOAD_BYTES": str(140 << 20)}
    async with open_gateway(StackOptions({"m": 1}, redis=False, plugin_environment=environment)) as gateway:
        client = await H2Client.connect(gateway.stack.ports.gateway)
        streams = [client.begin(headers={"content-length": str(40 << 20)}) for _ in range(3)]
        await client.flush()
        await until_uploading(gateway, 1)
        refused = [await client.answer(stream) for stream in streams[1:]]
        assert [answer.status for answer in refused] == [503, 503], "70 of 140 MiB are for one source"
        assert (await gateway.post()).status_code == 200, "small bodies need no place among large ones"
        await client.close()
        await until_uploading(gateway, 0)


async def test_clients_that_give_up_at_once_do_not_cost_others_the_connection(small: Gateway, flavour: str):
    if flavour != "standalone":
        pytest.skip("Envoy Gateway has no field for the bounds of Envoy's connection to the plugin")

    async def give_up() -> None:
        client = await H2Client.connect(small.stack.ports.gateway)
        for _ in range(10):
            for _ in range(50):
                client.reset(client.begin())
            await client.flush()
            await asyncio.sleep(0.002)
        await client.close()

    floods = [asyncio.create_task(give_up()) for _ in range(40)]
    answers = [(await small.post()).status_code for _ in range(20)]
    await asyncio.gather(*floods, return_exceptions=True)
    assert await small.envoy_stat("cluster.gateway_plugin.upstream_cx_protocol_error") == 0
    assert 500 not in answers


async def test_who_gives_up_all_it_asks_loses_the_connection(small: Gateway):
    if small.stack.options.envoy_templates is not None:
        pytest.skip("Envoy Gateway has Envoy's own bound, 250")
    client = await H2Client.connect(small.stack.ports.gateway)
    sent = 0
    with suppress(ConnectionError):
        while not client.closed and sent < 150:
            for _ in range(5):
                client.reset(client.begin())
            sent += 5
            await client.flush()
            await asyncio.sleep(0.01)
    assert client.closed, "Envoy by itself takes 250"
    await client.close()
    assert (await small.post()).status_code == 200
