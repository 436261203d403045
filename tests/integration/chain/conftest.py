"""The whole chain, real, on free ports; shared by the tests that do not break it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import Stack, StackOptions
from tests.envoy_flavours import TEMPLATES, templates_of

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


@dataclass
class Gateway:
    """A stack and the client that speaks with it."""

    stack: Stack
    http: httpx.AsyncClient

    async def post(self, body: Any = None, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        """POSTs JSON (or raw bytes) through Envoy; header names with underscores for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.stack.gateway_url + path
        if isinstance(body, bytes):
            return await self.http.post(url, content=body, headers={"content-type": "application/json"} | sent)
        return await self.http.post(url, json=BODY if body is None else body, headers=sent)

    async def create_user(self, name: str, rpm: int, tpm: int = 1_000_000) -> None:
        """Through the users API."""
        answer = await self.http.post(f"{self.stack.api_url}/CreateUser", json={"name": name, "rpm": rpm, "tpm": tpm})
        assert answer.status_code == 200, answer.text

    async def pods(self) -> list[dict[str, Any]]:
        """The pods as the plugin sees them."""
        answer = await self.http.get(f"{self.stack.ops_url}/debug/pods")
        pods: list[dict[str, Any]] = answer.json()
        return pods

    async def inflight(self) -> int:
        """Requests that the plugin has booked now."""
        return sum(pod["inflight_requests"] for pod in await self.pods())

    async def metric(self, name: str, **labels: str) -> float:
        """One sample of the plugin's metrics; 0 when there is none."""
        text = (await self.http.get(f"{self.stack.ops_url}/metrics")).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))

    async def envoy_stat(self, name: str) -> int:
        """A counter of Envoy, by the end of its name."""
        url = f"http://127.0.0.1:{self.stack.ports.envoy_admin}/stats"
        lines = (await self.http.get(url, params={"filter": f"{name}$"})).text.split("\n")
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line)

    async def last_headers(self, pod: str) -> dict[str, str]:
        """The headers of the last inference request at a pod, by the pod's name."""
        address = next(spec["address"] for spec in await self.pods() if spec["name"] == pod)
        headers: dict[str, str] = (await self.http.get(f"http://{address}/debug/last_headers")).json()
        return headers


OpenGateway = Callable[[StackOptions], AbstractAsyncContextManager[Gateway]]


@asynccontextmanager
async def _open(options: StackOptions, directory: Path) -> AsyncIterator[Gateway]:
    limits = httpx.Limits(max_connections=300)
    # The tests know what the store decides; on a busy machine 50 ms may pass before it can.
    patient = {"GATEWAY_LIMITER_TIMEOUT_SECONDS": "1", **options.plugin_environment}
    options = replace(options, plugin_environment=patient)
    async with Stack(options, directory) as stack, httpx.AsyncClient(timeout=20, limits=limits) as http:
        yield Gateway(stack, http)


@pytest.fixture(scope="session", params=TEMPLATES)
def flavour(request: pytest.FixtureRequest) -> str:
    """Which configuration Envoy runs."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def open_gateway(tmp_path_factory: pytest.TempPathFactory, flavour: str) -> OpenGateway:
    """Opens a gateway of one's own, for tests that break it."""

    def open_one(options: StackOptions) -> AbstractAsyncContextManager[Gateway]:
        if flavour == "envoy_gateway" and (options.plugin_tls or options.accounting != "access_log"):
            pytest.skip("not what the manifests say")
        options = replace(options, envoy_templates=templates_of(flavour))
        return _open(options, tmp_path_factory.mktemp("stack"))

    return open_one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Limits in Valkey, engines ten times faster than real ones."""
    async with open_gateway(StackOptions({"m": 3, "org/other": 2}, speed=10)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def memory_gateway(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Limits in the plugin's memory, no default strategy."""
    async with open_gateway(StackOptions({"m": 2}, default_strategy="", redis=False, speed=10)) as opened:
        yield opened
