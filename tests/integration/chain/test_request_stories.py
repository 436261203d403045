"""What happened to a request is told by its id, from the client's answer to the pod that served it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]


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
