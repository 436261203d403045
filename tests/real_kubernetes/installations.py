"""Flows of more than one installation, of an upgrade, and of many models."""

from __future__ import annotations

import asyncio
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.real_kubernetes.cluster import SYSTEM, TestCluster
from tests.real_kubernetes.controller_figures import controller_figures
from tests.real_kubernetes.everyday import MODEL, serves
from tests.real_kubernetes.kubectl import eventually
from tests.real_kubernetes.node import IDLE
from tests.real_kubernetes.toolchain import ROOT
from tests.real_kubernetes.traffic import ask, flowing

if TYPE_CHECKING:
    from tests.real_kubernetes.results import Result

PREVIOUS = "0a99774"
"""The chart of this commit is the version before."""
_MODELS, _PODS = 200, 10
_SMALL = ("plugin.autoscaling.enabled=false", "plugin.replicas=1", "envoy.replicas=1")


async def limited(cluster: TestCluster, result: Result) -> None:
    """An installation that may read one namespace only asks for nothing else, and serves what is there."""
    await cluster.objects.kubectl("create", "namespace", "team-a")
    await cluster.install("limited", "limited-system", "namespaces={team-a}", "secretName=gateway-plugin", *_SMALL)
    result.recovery_seconds = await cluster.ready("limited-system", "limited")
    await _copy_model(cluster, "team-a", "team-model")
    url = await cluster.url("limited-system")
    await serves(url, "team-model")
    status, _, text = await ask(url, MODEL)
    result.expect(status == 400, f"a model of another namespace: {status} {text}")
    for component in ("plugin", "controller"):
        for pod in cluster.plugins(component, "limited-system"):
            log = "".join(path.read_text() for path in pod.log_directory.glob("*.log"))
            result.expect(" 403 " not in log and "orbidden" not in log, f"{component} was refused something")
    await cluster.objects.kubectl("delete", "namespace", "team-a", "--wait=false")
    await cluster.objects.helm("uninstall", "limited", "-n", "limited-system", "--wait")
    await eventually(lambda: _is_forgotten(cluster, "team-model-router"), "the route of the team's model to go", 60)


async def _is_forgotten(cluster: TestCluster, route: str) -> bool:
    routes = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    return route not in {item["metadata"]["name"] for item in routes}


async def two(cluster: TestCluster, result: Result) -> None:
    """A second installation under another name: both serve the same model, and neither undoes the other's work."""
    await cluster.install("second", "second-system", "secretName=gateway-plugin", *_SMALL)
    result.recovery_seconds = await cluster.ready("second-system", "second")
    for url in (await cluster.url("second-system"), await cluster.url()):
        await serves(url, MODEL)
    await asyncio.sleep(5)
    before = await controller_figures(cluster)
    await asyncio.sleep(10)
    after = await controller_figures(cluster)
    result.expect(after.writes == before.writes, f"they quarrel: {dict(after.written - before.written)}")
    result.expect("Contested" not in after.findings, "Contested")
    async with flowing(await cluster.url(), MODEL) as outcome:
        await cluster.objects.helm("uninstall", "second", "-n", "second-system", "--wait")
        await asyncio.sleep(5)
    result.took(outcome)


async def _copy_model(cluster: TestCluster, namespace: str, name: str) -> None:
    text = await cluster.objects.kubectl("get", "deployment", MODEL, "-n", "default", "-o", "yaml")
    await cluster.objects.kubectl("delete", "deployment", name, "-n", namespace, "--ignore-not-found")
    import yaml

    body = yaml.safe_load(text)
    renamed = yaml.safe_load(yaml.safe_dump(body["spec"]).replace(MODEL, name))
    labels = {"model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    await cluster.objects.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": renamed})


async def upgrade(cluster: TestCluster, result: Result) -> None:
    """From the chart of the version before to this one: requests go on, users stay."""
    chart = await asyncio.to_thread(_previous_chart, cluster.directory)
    await cluster.install("old", "old-system", "secretName=gateway-plugin", chart=chart)
    await cluster.ready("old-system", "old")
    url = await cluster.url("old-system")
    await serves(url, MODEL)
    await _create_user(cluster, "old-system", "bob")
    async with flowing(url, MODEL) as outcome:
        began = asyncio.get_running_loop().time()
        # A change of the pods: without one nothing is rolled.
        changes = (
            "secretName=gateway-plugin",
            "plugin.settings.log_level=info",
            "controller.settings.resync_seconds=120",
        )
        await cluster.helm("upgrade", "old", "old-system", *changes)
        await cluster.objects.kubectl("rollout", "status", "-n", "old-system", "deployment/old", "--timeout=150s")
        await cluster.ready("old-system", "old")
        result.recovery_seconds = asyncio.get_running_loop().time() - began
        await asyncio.sleep(3)
    result.took(outcome)
    statuses = [(await ask(url, MODEL, user="bob"))[0] for _ in range(2)]
    result.expect(statuses == [200, 429], f"the user's limit of one request a minute: {statuses}")
    await cluster.objects.helm("uninstall", "old", "-n", "old-system", "--wait")


async def _create_user(cluster: TestCluster, namespace: str, name: str) -> None:
    pod = cluster.plugins("plugin", namespace)[0]
    headers = {"Authorization": "Bearer of-a-test"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"http://{pod.address}:8090/CreateUser", json={"name": name, "rpm": 1}) as response,
    ):
        response.raise_for_status()


def _previous_chart(directory: Path) -> Path:
    archive = directory / "previous.tar"
    paths = ["deploy/helm/gateway-plugin", "deploy/envoy/lua"]
    subprocess.run(["git", "archive", "-o", str(archive), PREVIOUS, *paths], cwd=ROOT, check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(directory / "previous", filter="fully_trusted")
    return directory / "previous" / paths[0]


async def many(cluster: TestCluster, result: Result) -> None:
    """200 models of 10 pods each: routes for all, and what it costs the controller."""
    before, loop = await controller_figures(cluster), asyncio.get_running_loop()
    began = loop.time()
    await cluster.objects.apply(*(_idle_model(number) for number in range(_MODELS)))
    result.recovery_seconds = await eventually(lambda: _routed(cluster), "all routes", 180)
    until_routed = await controller_figures(cluster)
    await eventually(lambda: _running(cluster), "all pods", 300)
    all_there = loop.time() - began
    await asyncio.sleep(5)
    settled = await controller_figures(cluster)
    await asyncio.sleep(30)
    after = await controller_figures(cluster)
    result.api_calls = until_routed.calls - before.calls
    cpu, idle = until_routed.cpu_seconds - before.cpu_seconds, after.cpu_seconds - settled.cpu_seconds
    result.notes += [
        f"{_MODELS} models, {_MODELS * _PODS} pods in {all_there:.0f} s, the controller took {cpu:.1f} s of CPU",
        f"then {2 * (after.calls - settled.calls)} calls and {2 * idle:.2f} s of CPU a minute",
        f"{after.resident_bytes / 2**20:.0f} MiB",
    ]
    result.expect(after.writes == settled.writes, f"{after.writes - settled.writes} writes while nothing happened")
    await cluster.objects.kubectl("delete", "deployment", "-l", "test/many=yes", "--wait=false")
    await eventually(lambda: _unrouted(cluster), "no route is left", 180)


async def _routed(cluster: TestCluster) -> bool:
    return len(await _routes(cluster)) == _MODELS


async def _unrouted(cluster: TestCluster) -> bool:
    return not await _routes(cluster)


async def _routes(cluster: TestCluster) -> list[str]:
    found = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    return [item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("many-")]


async def _running(cluster: TestCluster) -> bool:
    deployments = await cluster.objects.list("apps/v1", "deployments", "default", "test/many=yes")
    return all((item.get("status") or {}).get("readyReplicas") == _PODS for item in deployments)


def _idle_model(number: int) -> dict[str, object]:
    name = f"many-{number}"
    labels = {"model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000", "test/many": "yes"}
    template = {
        "metadata": {"labels": {**labels, "app": name}, "annotations": {IDLE: "yes"}},
        "spec": {"containers": [{"name": "engine", "image": "none"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"replicas": _PODS, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
