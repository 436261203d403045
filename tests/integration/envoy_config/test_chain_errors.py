"""Envoy's own errors are JSON in the form of each path's clients; the plugin's answers pass as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.integration.envoy_config.conftest import Chain

pytestmark = pytest.mark.envoy


def error_of(headers: dict[str, str], body: bytes) -> tuple[str, str | None]:
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["param"] is None
    return error["type"], error["code"]


@pytest.mark.parametrize("length", [70_000, 150_000, 1_000_000])
@pytest.mark.parametrize("delay_seconds", [0, 0.1])
async def test_body_too_long(chain: Chain, length: int, delay_seconds: float) -> None:
    pod = await chain.pod()
    chain.plugin.answer_after_seconds = delay_seconds
    await chain.start(pod.address, body_limit_bytes=65536)
    status, headers, body = await chain.chat({"text": "x" * length})
    assert (status, error_of(headers, body)) == (413, ("invalid_request_error", "request_too_large"))


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true", "/v2/rerank"])
async def test_errors_are_those_of_the_paths_clients(chain: Chain, path: str) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, body_limit_bytes=65536)
    async with chain.client.post(path, json={"model": "m", "text": "x" * 70_000}) as answer:
        said = await answer.json()
    assert answer.status == 413
    message = said["error"]["message"]
    assert message.startswith("The request body is longer than")
    if "rerank" in path or chain.flavour != "standalone":
        assert said["message"] == message
    if "rerank" not in path:
        assert said["type"] == "error"
        assert said["error"]["type"] == (
            "request_too_large" if chain.flavour == "standalone" else "invalid_request_error"
        )
    if "rerank" not in path and chain.flavour == "standalone":
        assert (said.keys(), said["request_id"]) == ({"type", "error", "request_id"}, answer.headers["request-id"])


async def test_unknown_path(chain: Chain) -> None:
    await chain.start()
    async with chain.client.get("/metrics") as answer:
        assert answer.status == 404
        expected = {"message": "Unknown path or model.", "type": "invalid_request_error", "param": None, "code": None}
        assert (await answer.json())["error"] == expected


async def test_engine_paths_outside_v1_are_not_reachable(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    async with chain.client.post("/sleep", headers={"model": "meta/llama-3.1"}) as answer:
        assert answer.status == 404
    assert pod.seen == []


async def test_no_pod(chain: Chain) -> None:
    await chain.start()
    status, headers, body = await chain.chat()
    assert (status, error_of(headers, body)) == (503, ("overloaded_error", "service_unavailable"))


async def test_dead_pod(chain: Chain) -> None:
    pod = await chain.pod()
    chain.plugin.target = pod.address
    await chain.start(pod.address)
    await pod.stop()
    status, headers, body = await chain.chat()
    assert (status, error_of(headers, body)) == (503, ("overloaded_error", "service_unavailable"))
    assert headers["request-id"] == "r1"


async def test_plugin_down(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    await chain.plugin.stop()
    status, headers, body = await chain.chat(model="meta/llama-3.1")
    assert (status, error_of(headers, body)) == (500, ("api_error", "gateway_plugin_unavailable"))
    assert pod.seen == []


async def test_plugin_too_slow(chain: Chain) -> None:
    pod = await chain.pod()
    chain.plugin.answer_after_seconds = 5
    await chain.start(pod.address, message_timeout_seconds=0.1)
    status, headers, body = await chain.chat()
    assert (status, error_of(headers, body)) == (504, ("api_error", "gateway_plugin_unavailable"))


async def test_silent_pod(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, idle_timeout_seconds=0.2)
    async with chain.client.post("/v1/chat/completions", json={"stream": True}) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


@pytest.mark.parametrize("refused", [400, 413, 429, 500, 503])
async def test_the_plugins_answer_is_unchanged(chain: Chain, refused: int) -> None:
    chain.plugin.refuse, chain.plugin.refuse_status = '{"error": {"message": "slower, please"}}', refused
    await chain.start()
    status, headers, body = await chain.chat()
    assert (status, body.decode()) == (refused, chain.plugin.refuse)
    assert headers["content-type"] == "application/json"
    assert headers["retry-after"] == "3"


async def test_health_needs_no_plugin(chain: Chain) -> None:
    await chain.start()
    await chain.plugin.stop()
    async with chain.client.get("/healthz") as answer:
        # Envoy Gateway's health check says nothing, and 503 while it drains.
        assert (answer.status, await answer.text()) == (200, "ok\n" if chain.flavour == "standalone" else "")
