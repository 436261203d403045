"""`accounting: ext_proc`: responses pass through the plugin, and neither Lua nor an access log is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from routing.strategies.session_affinity import token_of
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

STREAM = BODY | {"stream": True, "max_tokens": 12, "ignore_eos": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def followed(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    options = StackOptions({"m": 2}, redis=False, speed=10, accounting="ext_proc")
    async with open_gateway(options) as opened:
        yield opened


async def eventually(value: Callable[[], Awaitable[float]], wanted: float) -> None:
    deadline = time.monotonic() + 5
    while (found := await value()) != wanted:
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        await asyncio.sleep(0.05)


async def used_tokens(gateway: Gateway, user: str) -> float:
    answer = await gateway.http.get(f"{gateway.stack.api_url}/v1/users/{user}/usage")
    used: float = answer.json()["tokens"]["used"]
    return used


async def test_the_client_is_told_and_json_is_charged(followed: Gateway):
    await followed.create_user("json", rpm=100)
    answer = await followed.post(BODY, user="json")
    assert answer.status_code == 200
    address, name = answer.headers["target-pod-ip"], answer.headers["target-pod"]
    assert {"address": address, "name": name}.items() <= next(
        pod for pod in await followed.pods() if pod["name"] == name
    ).items()
    assert answer.headers["routing-strategy"] == "least-request"
    tokens = answer.json()["usage"]["total_tokens"]
    await eventually(lambda: used_tokens(followed, "json"), tokens)


async def test_a_stream_is_charged_and_timed(followed: Gateway):
    await followed.create_user("sse", rpm=100)
    answer = await followed.post(STREAM, user="sse")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "usage" not in answer.text, "the engine was asked in the client's name"
    await eventually(lambda: followed.metric("gateway_ttft_seconds_count", model="m"), 1)
    await eventually(lambda: followed.metric("gateway_tpot_seconds_count", model="m"), 1)
    await eventually(lambda: used_tokens(followed, "sse"), 20)


async def test_outcomes_of_users_without_limits_are_counted(followed: Gateway):
    name, labels = "gateway_request_model_success_total", {"model": "m", "status_code": "200"}
    before = await followed.metric(name, **labels)
    assert (await followed.post(STREAM)).status_code == 200
    await eventually(lambda: followed.metric(name, **labels), before + 1)


async def test_clients_that_leave_leave_nothing_behind(followed: Gateway):
    await followed.create_user("leaving", rpm=100)
    url = f"{followed.stack.gateway_url}/v1/chat/completions"
    long = STREAM | {"max_tokens": 5000}
    for _ in range(10):
        async with followed.http.stream("POST", url, json=long, headers={"user": "leaving"}) as answer:
            await anext(answer.aiter_lines())
    await eventually(followed.inflight, 0)
    await eventually(lambda: followed.metric("gateway_request_model_fail_total", model="m", status_code="499"), 10)


async def test_a_pod_that_envoy_passed_over_is_known(followed: Gateway):
    address = next(pod["address"] for pod in await followed.pods() if pod["name"] == "m-0")
    await followed.http.post(f"http://{address}/debug/faults", json={"status": 503})
    session = {"routing_strategy": "session-affinity", "x_session_id": token_of(address)}
    answers = [await followed.post(**session) for _ in range(3)]
    assert {(answer.status_code, answer.headers["target-pod"]) for answer in answers} == {(200, "m-1")}
    opened = {"state": "open", "reason": "passed_over"}
    await eventually(lambda: followed.metric("gateway_pod_circuit_transitions_total", **opened), 1)
    assert await followed.metric("gateway_retries_total", model="m") >= 2
    await followed.http.post(f"http://{address}/debug/faults", json={})
