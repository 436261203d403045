"""Models through a real Envoy: the `openai` SDK, names, adapters, access, events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
CHAT: list[Any] = [{"role": "user", "content": "hi"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def names(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """A gateway whose registry is changed; engines are asked often."""
    environment = {"GATEWAY_MODELS_POLL_SECONDS": "0.3", "GATEWAY_API_KEYS": "true"}
    models = {"m": 2, "org/other": 1}
    async with open_gateway(StackOptions(models, speed=20, plugin_environment=environment)) as opened:
        yield opened


def sdk(gateway: Gateway, key: str = "sk-whatever", **headers: str) -> openai.AsyncOpenAI:
    url = f"{gateway.stack.gateway_url}/v1"
    return openai.AsyncOpenAI(api_key=key, base_url=url, default_headers=headers, max_retries=0)


async def put(gateway: Gateway, path: str, **body: Any) -> None:
    answer = await gateway.http.put(f"{gateway.stack.api_url}/v1/registry/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 15
    while not await what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_the_sdk_lists_and_retrieves(names: Gateway):
    async with sdk(names) as client:
        assert {"m", "org/other"} <= {model.id async for model in client.models.list()}
        model = await client.models.retrieve("org/other")
        assert (model.id, model.object, model.owned_by) == ("org/other", "model", "gateway-plugin")
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("nope")
        assert caught.value.code == "model_not_found"


async def test_an_alias_with_the_clients_own_name_in_every_response(names: Gateway):
    await put(names, "aliases/gpt-4o", target="m", restore_name=True)
    async with sdk(names) as client:
        whole = await client.chat.completions.create(model="gpt-4o", messages=CHAT, max_tokens=8)
        assert whole.model == "gpt-4o"
        stream = await client.chat.completions.create(model="gpt-4o", messages=CHAT, max_tokens=8, stream=True)
        assert {chunk.model async for chunk in stream} == {"gpt-4o"}
        plain = await client.chat.completions.create(model="m", messages=CHAT, max_tokens=8)
        assert plain.model == "m"
    pod = (await names.http.post(f"{names.stack.gateway_url}/v1/chat/completions", json=body("gpt-4o"))).headers
    assert pod["target-pod"].startswith("m-"), "the client is told as ever"


async def test_an_alias_without_it(names: Gateway):
    await put(names, "aliases/plain", target="m")
    answer = await names.post(body("plain"))
    assert (answer.status_code, answer.json()["model"]) == (200, "m")
    await names.create_user("by-alias", 100)
    limited = await names.post(body("plain"), user="by-alias")
    assert (limited.status_code, limited.json()["model"]) == (200, "m")
    assert limited.headers["x-ratelimit-remaining-requests"] == "99"


async def test_a_canary_is_sticky(names: Gateway):
    await put(names, "models/m", canary={"model": "org/other", "weight_percent": 50})
    try:
        served: dict[str, set[str]] = {}
        for number in range(12):
            await names.create_user(f"canary-{number}", 100)
            answers = [await names.post(body("m"), user=f"canary-{number}") for _ in range(2)]
            served[f"canary-{number}"] = {answer.json()["model"] for answer in answers}
        assert all(len(models) == 1 for models in served.values())
        assert set.union(*served.values()) == {"m", "org/other"}
    finally:
        await put(names, "models/m")


async def test_an_adapter_that_an_engine_loads_can_be_asked_for(names: Gateway):
    pods = {pod["name"]: pod["address"] for pod in await names.pods()}
    adapter = {"lora_name": "sql", "lora_path": "/lora/sql"}
    answer = await names.http.post(f"http://{pods['m-1']}/v1/load_lora_adapter", json=adapter)
    assert answer.status_code == 200

    async def is_listed() -> bool:
        found = await names.http.get(f"{names.stack.gateway_url}/v1/models", params={"base": "m"})
        return [model["id"] for model in found.json()["data"]] == ["sql"]

    await eventually(is_listed)
    for strategy in ("least-request", "prefix-cache"):
        answer = await names.post(body("sql"), routing_strategy=strategy)
        assert (answer.status_code, answer.json()["model"]) == (200, "sql"), answer.text
        assert answer.headers["target-pod"] == "m-1", "the one that has it"
    await put(names, "aliases/text-to-sql", target="sql")
    shown = (await names.http.get(f"{names.stack.ops_url}/v1/models/text-to-sql?detail=full")).json()
    assert (shown["alias_of"], shown["status"], shown["ready_pods"]) == ("sql", "ready", 1)


async def test_users_see_and_use_what_they_may(names: Gateway):
    await put(names, "aliases/only", target="m")
    user = {"name": "narrow", "rpm": 100, "models": ["only"]}
    assert (await names.http.post(f"{names.stack.api_url}/v1/users", json=user)).status_code == 201
    key = (await names.http.post(f"{names.stack.api_url}/v1/users/narrow/keys")).json()["secret"]
    for opened in (sdk(names, user="narrow"), sdk(names, key)):
        async with opened as client:
            assert [model.id async for model in client.models.list()] == ["only"]
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("m")
            assert (await client.chat.completions.create(model="only", messages=CHAT, max_tokens=2)).model == "m"
            with pytest.raises(openai.PermissionDeniedError):
                await client.chat.completions.create(model="m", messages=CHAT, max_tokens=2)


async def test_events_through_envoy(names: Gateway):
    url = f"{names.stack.gateway_url}/v1/models/events"
    async with names.http.stream("GET", url) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        await put(names, "aliases/heard-of", target="m")
        async with asyncio.timeout(10):
            while (event := await next_event(lines))["data"]["model"]["id"] != "heard-of":
                pass
    assert event["type"] == "model.added"


async def next_event(lines: AsyncIterator[str]) -> dict[str, Any]:
    async for line in lines:
        if line.startswith("data: "):
            event: dict[str, Any] = json.loads(line[6:])
            return event
    raise AssertionError("the stream has ended")


async def test_a_pod_that_is_gone_is_seen_within_a_second_of_discovery(names: Gateway):
    async def state() -> dict[str, Any]:
        found: dict[str, Any] = (await names.http.get(f"{names.stack.api_url}/v1/models/m?detail=full")).json()
        return found

    etag = (await names.http.get(f"{names.stack.api_url}/v1/models")).headers["etag"]
    before = names.stack.endpoints_file.read_text()
    address = next(pod["address"] for pod in await names.pods() if pod["name"] == "m-0")
    start = before.index(f"- address: {address}")
    end = before.index("- ", start + 2)
    names.stack.endpoints_file.write_text(before[:start] + before[end:])
    try:

        async def has_one_pod() -> bool:
            return bool((await state())["total_pods"] == 1)

        await eventually(has_one_pod)
        changed = await names.http.get(f"{names.stack.api_url}/v1/models", headers={"if-none-match": etag})
        assert changed.status_code == 200
    finally:
        names.stack.endpoints_file.write_text(before)


def body(model: str) -> dict[str, Any]:
    return {"model": model, "messages": CHAT, "max_tokens": 4}
