"""The whole service behind a real Envoy, on either transport: what a transport could break, and nothing else.

`GATEWAY_TEST_TRANSPORT=grpcio make test` runs every test of the service on the other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway_plugin.tools.chain.stack import Stack, StackOptions

pytestmark = [pytest.mark.envoy, pytest.mark.redis]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


class Service:
    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self.http = http

    async def chat(self, body: Any = None, **headers: str) -> httpx.Response:
        url = f"{self.stack.gateway_url}/v1/chat/completions"
        return await self.http.post(url, json=body or CHAT, headers=headers)

    async def create_user(self, name: str, rpm: int) -> None:
        body = {"name": name, "rpm": rpm, "tpm": 1_000_000}
        assert (await self.http.post(f"{self.stack.api_url}/CreateUser", json=body)).status_code == 200

    async def metric(self, start: str) -> float:
        lines = (await self.http.get(f"{self.stack.ops_url}/metrics")).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    async def until(self, metric: str, value: float) -> None:
        async with asyncio.timeout(20):
            while await self.metric(metric) != value:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)


@pytest.fixture(params=["native", "grpcio"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    environment = {"GATEWAY_TRANSPORT": request.param, "GATEWAY_LIMITER_TIMEOUT_SECONDS": "1"}
    options = StackOptions({"m": 2}, speed=10, plugin_environment=environment)
    async with Stack(options, tmp_path) as stack, httpx.AsyncClient(timeout=20) as http:
        yield Service(stack, http)


async def test_a_service_on_either_transport(service: Service):
    await service.create_user("kim", rpm=3)
    statuses = [(await service.chat(user="kim")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    large = {**CHAT, "metadata": {"note": "x" * 3_000_000}}
    assert (await service.chat(large)).status_code == 200, "the body arrives in many frames"
    answers = await asyncio.gather(*(service.chat() for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    await service.until("gateway_in_flight_requests", 0)
    await service.until("gateway_request_model_success_total", 104)
    await _check_health(service.stack.ports.grpc)
    await _check_a_client_that_leaves(service)


async def _check_health(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest(service="gateway-plugin"))
        assert answer.status == HealthCheckResponse.SERVING


async def _check_a_client_that_leaves(service: Service) -> None:
    url = f"{service.stack.gateway_url}/v1/chat/completions"
    body = {**CHAT, "max_tokens": 5000, "stream": True}
    async with service.http.stream("POST", url, json=body) as response:
        assert response.status_code == 200
        assert await service.metric("gateway_in_flight_requests") == 1
    await service.until("gateway_in_flight_requests", 0)
