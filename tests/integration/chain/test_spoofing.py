"""A client's own target-pod neither chooses a pod nor reaches one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Fail-open, no default strategy; its plugin will be stopped."""
    async with open_gateway(
        StackOptions({"m": 2, "other": 1}, default_strategy="", redis=False, speed=10, fail_open=True)
    ) as opened:
        yield opened


def spoofed(gateway: Gateway) -> str:
    """The address of a real pod that must not be reached: one of another model, so that Envoy knows it."""
    (port,) = gateway.stack.ports.pods["other"]
    return f"127.0.0.1:{port}"


async def check(gateway: Gateway, answer_pod: str, target: str) -> None:
    assert answer_pod.startswith("m-")
    headers = await gateway.last_headers(answer_pod)
    assert target not in headers.get("target-pod", "")
    assert "target-pod-ip" not in headers


@pytest.mark.parametrize("strategy", [None, "", "random"])
async def test_with_a_body(fragile: Gateway, strategy: str | None):
    target = spoofed(fragile)
    headers = {} if strategy is None else {"routing_strategy": strategy}
    answer = await fragile.post(target_pod=target, target_pod_ip=target, **headers)
    assert answer.status_code == 200, answer.text
    await check(fragile, answer.headers["x-inference-pod"], target)


@pytest.mark.parametrize("strategy", [None, "", "random"])
async def test_without_a_body(fragile: Gateway, strategy: str | None):
    target = spoofed(fragile)
    headers = {"model": "m", "target-pod": target}
    if strategy is not None:
        headers["routing-strategy"] = strategy
    url = f"{fragile.stack.gateway_url}/v1/chat/completions"
    answer = await fragile.http.post(url, headers=headers)
    assert answer.headers["x-inference-pod"].startswith("m-"), answer.text


@pytest.mark.parametrize("address", ["127.0.0.1:{admin}", "127.0.0.1:{ops}"])
async def test_only_pods_can_be_reached(fragile: Gateway, address: str):
    target = address.format(admin=fragile.stack.ports.envoy_admin, ops=fragile.stack.ports.ops)
    headers = {"target-pod": target, "routing-strategy": "random"}
    answer = await fragile.http.get(f"{fragile.stack.gateway_url}/stats", headers=headers)
    assert answer.status_code == 404
    answer = await fragile.http.get(
        f"{fragile.stack.gateway_url}/v1/completions/stats", headers=headers | {"model": "m"}
    )
    assert answer.status_code == 404
    answer = await fragile.post(**{name.replace("-", "_"): value for name, value in headers.items()})
    assert answer.headers["x-inference-pod"].startswith("m-")


async def test_with_the_plugin_down_and_fail_open(fragile: Gateway):
    await fragile.stack.stop_plugin()
    target = spoofed(fragile)
    answer = await fragile.post(target_pod=target, target_pod_ip=target, model="m", routing_strategy="random")
    assert answer.status_code == 200, answer.text
    pod = answer.headers["x-inference-pod"]
    assert pod.startswith("m-")
    port = fragile.stack.ports.pods["m"][int(pod.removeprefix("m-"))]
    headers = (await fragile.http.get(f"http://127.0.0.1:{port}/debug/last_headers")).json()
    assert "target-pod" not in headers
    assert "target-pod-ip" not in headers
