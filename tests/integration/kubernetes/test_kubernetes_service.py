"""The whole service on Kubernetes: a fake API server, simulated engines, the plugin as a process, a real Envoy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway_plugin.settings.loading import load
from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process, script
from gateway_plugin.tools.chain.stack import HOST, Stack, StackOptions
from tests.fake_kubernetes import pod, readiness
from tests.integration.kubernetes.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fake_kubernetes import FakeServer

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def environment(server: FakeServer, directory: Path) -> dict[str, str]:
    return {
        "GATEWAY_DISCOVERY": "kubernetes",
        "GATEWAY_KUBECONFIG": str(server.kubeconfig(directory)),
        "GATEWAY_ENDPOINTS_FILE": "",
    }


@asynccontextmanager
async def lone_plugin(server: FakeServer, directory: Path) -> AsyncIterator[tuple[Process, str, str]]:
    """The plugin without anything around it; where its operations and its gRPC are."""
    ports = Ports(usual=False)
    env = {name: str(ports.pick(1)) for name in ("GATEWAY_GRPC_PORT", "GATEWAY_OPS_PORT", "GATEWAY_API_PORT")}
    env |= {"GATEWAY_BIND_HOST": HOST, "GATEWAY_REDIS_URL": "", "GATEWAY_DRAIN_GRACE_SECONDS": "0.05"}
    argv = [script("gateway-plugin"), "serve"]
    process = await Process.start("plugin", argv, directory, env | environment(server, directory))
    try:
        yield process, f"http://{HOST}:{env['GATEWAY_OPS_PORT']}", f"{HOST}:{env['GATEWAY_GRPC_PORT']}"
    finally:
        await process.stop()


async def grpc_health(address: str) -> str:
    """What Envoy and kubelets are told."""
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def ask_first(address: str) -> grpc.StatusCode:
    """What becomes of a call that Envoy would make."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = external_processor_pb2_grpc.ExternalProcessorStub(channel).Process(timeout=10)
        await call.done_writing()
        code: grpc.StatusCode = await call.code()
        return code


async def answered(http: httpx.AsyncClient, url: str, wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                answer = await http.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if wanted(answer):
                return answer
            await asyncio.sleep(0.02)


async def test_a_request_goes_to_a_pod(server: FakeServer, tmp_path: Path) -> None:
    options = StackOptions({"m": 2}, redis=False, speed=10, plugin_environment=environment(server, tmp_path))
    async with Stack(options, tmp_path) as stack, httpx.AsyncClient(timeout=20) as http:

        async def ask() -> tuple[int, str]:
            answer = await http.post(f"{stack.gateway_url}/v1/chat/completions", json=BODY)
            return answer.status_code, answer.headers.get("target-pod", "")

        def ready(*names: str) -> Callable[[httpx.Response], bool]:
            return lambda answer: sorted(one["name"] for one in answer.json() if one["ready"]) == sorted(names)

        pods_url = f"{stack.ops_url}/debug/pods"
        assert (await ask())[0] == 400
        for number, port in enumerate(stack.ports.pods["m"]):
            server.cluster.create("pods", pod(f"m-{number}", "m", HOST, port=port))
        await answered(http, pods_url, ready("m-0", "m-1"))
        answers: set[tuple[int, str]] = set()
        # Idle pods are chosen among at random.
        for _ in range(60):
            answers.add(await ask())
            if len(answers) == 2:
                break
        assert answers == {(200, "m-0"), (200, "m-1")}
        server.cluster.patch("pods", "m-0", readiness(False))
        await answered(http, pods_url, ready("m-1"))
        assert {await ask() for _ in range(4)} == {(200, "m-1")}
        server.cluster.patch("pods", "m-1", readiness(False))
        await answered(http, pods_url, ready())
        assert (await ask())[0] == 503, "known, but nobody is ready"
        server.cluster.delete("pods", "m-0")
        server.cluster.delete("pods", "m-1")
        await answered(http, pods_url, lambda answer: answer.json() == [])
        assert (await ask())[0] == 400


async def test_it_is_ready_when_the_first_lists_are_complete(server: FakeServer, tmp_path: Path) -> None:
    server.faults.fail(503, verb="list", resource="pods", times=1_000_000)
    async with lone_plugin(server, tmp_path) as (_, ops_url, grpc_address), httpx.AsyncClient(timeout=20) as http:
        answer = await answered(http, f"{ops_url}/readyz", lambda answer: "503" in answer.json()["checks"]["models"])
        assert answer.status_code == 503
        assert "waiting for the first list of pods in all namespaces" in answer.json()["checks"]["models"]
        assert await grpc_health(grpc_address) == "NOT_SERVING"
        assert await ask_first(grpc_address) is grpc.StatusCode.UNAVAILABLE, "Envoy asks another replica"
        server.faults.heal()
        answer = await answered(http, f"{ops_url}/readyz", lambda answer: answer.status_code == 200)
        assert answer.json()["checks"]["models"] == "ok"
        assert await grpc_health(grpc_address) == "SERVING"
        assert await ask_first(grpc_address) is grpc.StatusCode.OK
        assert (
            'gateway_discovery_lists_total{outcome="complete",resource="pods"} 1.0'
            in (await http.get(f"{ops_url}/metrics")).text
        )


async def test_it_stops_cleanly_while_it_watches(server: FakeServer, tmp_path: Path) -> None:
    async with lone_plugin(server, tmp_path) as (process, ops_url, _), httpx.AsyncClient(timeout=20) as http:
        await answered(http, f"{ops_url}/readyz", lambda answer: answer.status_code == 200)
    log = process.log.read_text()
    assert "discovery through the API server at http://127.0.0.1" in log
    for trouble in ("Traceback", "Unclosed", "never retrieved"):
        assert trouble not in log


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GATEWAY_KUBECONFIG": "/nowhere"}, ["no credentials (/nowhere)"]),
        ({"GATEWAY_DISCOVERY": "consul"}, ["discovery = 'consul'", "allowed: file, kubernetes"]),
        ({"GATEWAY_LABEL_PREFIX": "Model/"}, ["label_prefix = 'Model/'", "GATEWAY_LABEL_PREFIX"]),
        ({"GATEWAY_POD_IP_FAMILY": "v6"}, ["allowed: primary, ipv4, ipv6"]),
    ],
)
async def test_bad_configuration(server: FakeServer, tmp_path: Path, change: dict[str, str], words: list[str]) -> None:
    env = {**environment(server, tmp_path), "GATEWAY_REDIS_URL": "", **change}
    process = await Process.start("plugin", [script("gateway-plugin"), "serve"], tmp_path, env)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process._process.wait() == 1
    text = process.log.read_text()
    assert "Traceback" not in text
    assert all(word in text for word in words), text


def test_namespaces_are_a_list() -> None:
    settings = load(environ={"GATEWAY_KUBERNETES_NAMESPACES": " a, b,,a "}).settings
    assert settings.pods.namespaces == ("a", "b")


@pytest.mark.parametrize("missing", [False, True])
def test_the_client_is_loaded_only_when_it_is_used(missing: bool, tmp_path: Path) -> None:
    """Also without the extra: everything else works, and the start says what to install."""
    code = """
import sys
if {missing}: sys.modules["kubernetes"] = None
from gateway_plugin.app.assembly import Assembly, StartError
from gateway_plugin.settings.loading import load
assert not any(name.startswith("kubernetes") and sys.modules[name] for name in sys.modules)
try:
    Assembly(load(environ={{"GATEWAY_DISCOVERY": "kubernetes"}}).settings)
except StartError as error:
    print("refused:", error)
print("loaded:", any(name.startswith("kubernetes.") for name in sys.modules))
"""
    argv: list[Any] = [sys.executable, "-c", code.format(missing=missing)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    if missing:
        assert "pip install 'gateway-plugin[kubernetes]'" in done.stdout
    assert f"loaded: {not missing}" in done.stdout
