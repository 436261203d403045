"""A running Envoy follows clusters.yaml and routes.yaml; starting and stopping it."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.envoy_config.model import Model
from gateway_plugin.tools.envoy_config.process import EnvoyError, start_envoy

if TYPE_CHECKING:
    from tests.integration.envoy_config.conftest import Chain

pytestmark = pytest.mark.envoy

MODEL = "meta/llama-3.1"
ROUTES = {
    "standalone": "http.gateway.rds.models",
    "envoy_gateway": "http.http-10080.rds.gateway-plugin-system/gateway-plugin/http",
}
ODD = """q"u'o\\te.#: {é𜼀} %"""


async def ask(chain: Chain, model: str = MODEL) -> tuple[int, str]:
    status, _, body = await chain.chat(model=model)
    # Empty: a route whose cluster is not there yet, which Envoy Gateway cannot give a body.
    return status, json.loads(body or b"{}").get("served_by", "")


async def test_an_endpoint_is_added_and_one_removed_while_a_stream_runs(chain: Chain) -> None:
    old, new = await chain.pod(), await chain.pod()
    await chain.start(old.address)

    async def new_serves() -> bool:
        return await ask(chain) == (200, new.address)

    async with chain.client.post("/v1/chat/completions", json={"stream": True}) as stream:
        await stream.content.readany()
        assert chain.rewrite(Model(MODEL, (old.address, new.address))) == ["clusters.yaml"]
        chain.plugin.target = new.address
        await chain.until(new_serves)
        assert chain.rewrite(Model(MODEL, (new.address,))) == ["clusters.yaml"]
        chain.plugin.target = old.address
        await chain.until(new_serves)
        old.go.set()
        assert (await stream.content.read()).endswith(b"data: [DONE]\n\n")


async def test_a_model_is_added_and_removed(chain: Chain) -> None:
    old, new = await chain.pod(), await chain.pod()
    await chain.start(old.address, fail_open=True)
    await chain.plugin.stop()
    first, second = Model(MODEL, (old.address,)), Model("second", (new.address.replace("127.0.0.1", "localhost"),))

    async def second_is(answer: tuple[int, str]) -> bool:
        return await ask(chain, "second") == answer

    assert await second_is((404, ""))
    assert chain.rewrite(first, second) == ["clusters.yaml", "routes.yaml"]
    await chain.until(lambda: second_is((200, new.address)))
    assert await ask(chain) == (200, old.address)
    chain.rewrite(first)
    await chain.until(lambda: second_is((404, "")))


async def test_odd_names_and_addresses_are_accepted(chain: Chain) -> None:
    await chain.start()
    updates = f"{ROUTES[chain.flavour]}.update_success"
    before = await stats(chain)
    chain.rewrite(Model(ODD, ("[::1]:8000", "localhost:8001")), Model("v6", ("[::1]:8000",)), Model("none", ()))

    async def taken_over() -> bool:
        return (await stats(chain))[updates] > before[updates]

    await chain.until(taken_over)
    now = await stats(chain)
    assert now["cluster_manager.cds.update_rejected"] == 0
    assert now[f"{ROUTES[chain.flavour]}.update_rejected"] == 0
    assert now["cluster_manager.active_clusters"] == before["cluster_manager.active_clusters"] + 2


async def stats(chain: Chain) -> dict[str, int]:
    async with chain.client.get(f"{chain.envoy.admin_url}/stats?format=json&filter=cds|rds|active_clusters") as answer:
        return {item["name"]: item["value"] for item in (await answer.json())["stats"] if "value" in item}


async def test_a_taken_port_is_told(chain: Chain) -> None:
    port = chain.config.ports.listener
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(EnvoyError, match=r"(?s)exited with 1.*cannot bind"),
    ):
        await start_envoy(chain.config, chain.directory)


async def test_an_envoy_that_is_not_ready_in_time_is_stopped(chain: Chain) -> None:
    with pytest.raises(EnvoyError, match="not ready after 0"):
        await start_envoy(chain.config, chain.directory, ready_timeout_seconds=0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", chain.config.ports.admin)


async def test_stopping_twice_does_no_harm(chain: Chain) -> None:
    await chain.start()
    states = [chain.envoy.running]
    for _ in range(2):
        await chain.envoy.stop()
        states.append(chain.envoy.running)
    assert states == [True, False, False]
