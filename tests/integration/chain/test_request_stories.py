"""What happened to a request is told by its id, from the client's answer to the pod that served it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

CANARY = "canary-5f2c"
"""In prompts and keys; no log may have it."""


async def story_of(gateway: Gateway, request_id: str) -> dict[str, Any]:
    answer = await gateway.http.get(f"{gateway.stack.ops_url}/debug/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    story: dict[str, Any] = answer.json()
    return story


async def ended_story_of(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """Once Envoy's log has come."""
    async with asyncio.timeout(10):
        story = await story_of(gateway, request_id)
        while story["decisions"][0]["end"] is None:
            await asyncio.sleep(0.1)
            story = await story_of(gateway, request_id)
        return story


async def test_a_request_has_a_story(gateway: Gateway):
    await gateway.create_user("storyteller", rpm=100)
    answer = await gateway.post(user="storyteller", x_request_id="told-1", routing_strategy="least-request")
    assert answer.status_code == 200, answer.text
    story = await ended_story_of(gateway, "told-1")
    (decision,) = story["decisions"]
    assert (decision["user"], decision["model"], decision["strategy"]) == ("storyteller", "m", "least-request")
    assert decision["weighed"][0]["address"] == decision["targets"][0]["address"] == answer.headers["target-pod-ip"]
    assert decision["allowance"]["rpm"] == 100
    end, usage = decision["end"], answer.json()["usage"]
    assert (end["status"], end["attempts"], end["pod_address"]) == (200, 1, answer.headers["target-pod-ip"])
    assert (end["prompt_tokens"], end["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])


async def test_a_refusal_has_a_story_too(gateway: Gateway):
    await gateway.create_user("throttled", rpm=1)
    assert (await gateway.post(user="throttled")).status_code == 200
    answer = await gateway.post(user="throttled", x_request_id="told-2")
    assert answer.status_code == 429
    (refusal,) = (await story_of(gateway, "told-2"))["refusals"]
    assert (refusal["user"], refusal["status"], refusal["reason"]) == ("throttled", 429, "rpm_exceeded")
    assert refusal["path"] == "/v1/chat/completions"


@pytest_asyncio.fixture(loop_scope="session")
async def lined(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    environment = {"GATEWAY_LOG_ACCESS_LINES": "all", "GATEWAY_LOG_FORMAT": "json", "GATEWAY_API_KEYS": "true"}
    options = StackOptions({"m": 1}, redis=False, speed=10, plugin_environment=environment)
    async with open_gateway(options) as opened:
        yield opened


async def test_lines_of_the_log_tell_all_but_prompts_and_keys(lined: Gateway):
    messages = [{"role": "user", "content": f"my secret is {CANARY}"}]
    body = {"model": "m", "messages": messages, "max_tokens": 2}
    await lined.create_user("lee", rpm=1)
    headers = {"x_request_id": "line-1", "authorization": f"Bearer sk-{CANARY}"}
    assert (await lined.post(body, user="lee", **headers)).status_code == 200
    refused = {"x_request_id": "line-2", "authorization": f"Bearer gw-{CANARY}"}
    assert (await lined.post(body, user="lee", **refused)).status_code == 401
    assert (await lined.post(body | {"stream": CANARY}, x_request_id="line-3")).status_code == 400
    assert (await lined.post(f'{{"model": "{CANARY}'.encode(), x_request_id="line-4")).status_code == 400
    log = lined.stack.plugin.log
    async with asyncio.timeout(10):
        text = log.read_text()
        while "line-1" not in text:
            await asyncio.sleep(0.1)
            text = log.read_text()
    assert CANARY not in text
    lines = {said["request_id"]: said for said in map(json.loads, text.splitlines()) if "request_id" in said}
    assert lines.keys() >= {"line-1", "line-2", "line-3", "line-4"}
    told = {name: lines["line-1"][name] for name in ("user", "model", "status", "attempts", "completion_tokens")}
    assert told == {"user": "lee", "model": "m", "status": 200, "attempts": 1, "completion_tokens": 2}
    assert (lines["line-2"]["status"], lines["line-2"]["reason"]) == (401, "bad_token")
