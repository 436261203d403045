"""A running controller in front of the fake API server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway_plugin.controller import process as main
from gateway_plugin.controller.controller_settings import ControllerSettings
from gateway_plugin.tools.chain.ports import free_port
from tests.fake_kubernetes import FakeServer

ROUTES = "gateway-plugin-system"
_PATIENCE_SECONDS = 20.0

# What deploy/ grants the controller.
ROLE = {
    "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["leaderworkerset.x-k8s.io", "orchestration.aibrix.ai", "model.aibrix.ai"],
            "resources": ["leaderworkersets", "rayclusterfleets", "stormservices", "modeladapters"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["", "gateway.networking.k8s.io"],
            "resources": ["services", "httproutes", "referencegrants"],
            "verbs": ["get", "list", "watch", "create", "patch", "delete"],
        },
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["gateways"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
}


@asynccontextmanager
async def controller(server: FakeServer, directory: Path, *, watches: int = 10, **settings: Any) -> AsyncIterator[int]:
    """Runs until the block ends, and yields its HTTP port; what ends it before that fails the test."""
    stopping, port, present = asyncio.Event(), free_port(), len(server.watches())
    own = {"bind_host": "127.0.0.1", "controller_port": port, "kubeconfig": server.kubeconfig(directory)}
    task = asyncio.create_task(main.run(ControllerSettings(**own, **settings), stopping))
    try:
        await eventually(lambda: len(server.watches()) >= present + watches or task.done(), "the watches are open")
        yield port
    finally:
        stopping.set()
        await asyncio.wait_for(task, 15)


async def fetch(port: int, path: str) -> tuple[int, str]:
    """What the controller's HTTP port says."""
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def debug_routes(port: int) -> dict[str, Any]:
    """`/debug/routes`."""
    _, text = await fetch(port, "/debug/routes")
    shown: dict[str, Any] = json.loads(text)
    return shown


async def eventually_ready(port: int, *, ready: bool = True) -> list[str]:
    """Waits until `/readyz` says so; what the controller is deaf to."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        status, text = await fetch(port, "/readyz")
        if (status == 200) is ready:
            problems: list[str] = json.loads(text)["problems"]
            return problems
        assert time.monotonic() < deadline, f"not in time: {text}"
        await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


async def quiet(server: FakeServer, seconds: float = 0.6) -> None:
    """Waits until nothing has been written for a while."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        if server.cluster.history.version != before:
            before, since = server.cluster.history.version, time.monotonic()
        await asyncio.sleep(0.02)


def deployment(name: str, model: str, *, namespace: str = "models", port: str = "8000", **more: Any) -> dict[str, Any]:
    """A Deployment whose pods are labelled like itself."""
    labels = {"model.aibrix.ai/name": model, "model.aibrix.ai/port": port}
    return workload(name, labels, {**labels, "app": name}, namespace, **more)


def workload(
    name: str, labels: Mapping[str, str], pod_labels: Mapping[str, str], namespace: str = "models", **metadata: Any
) -> dict[str, Any]:
    """Any object with one pod template."""
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels), **metadata},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": dict(pod_labels)}, "spec": {"containers": [{"name": "engine"}]}},
        },
    }
