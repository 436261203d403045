"""Flows in which something goes wrong, or away."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tests.real_kubernetes.cluster import SYSTEM, TestCluster, definitions
from tests.real_kubernetes.controller_figures import controller_figures, readiness
from tests.real_kubernetes.everyday import MODEL, definition, serves
from tests.real_kubernetes.kubectl import eventually
from tests.real_kubernetes.traffic import ask, error_code, flowing

if TYPE_CHECKING:
    from tests.real_kubernetes.results import Result

_AWAY_SECONDS = float(os.environ.get("AWAY_SECONDS", "30"))
_CHURN_SECONDS = float(os.environ.get("CHURN_SECONDS", "60"))
_ROUTES = "httproutes.gateway.networking.k8s.io"


async def no_plugin(cluster: TestCluster, result: Result) -> None:
    """Without any plugin clients get an error in OpenAI's form, and are served again when one is there."""
    url = await cluster.url()
    await cluster.objects.kubectl("delete", "-n", SYSTEM, "hpa", "gateway-plugin")
    await cluster.objects.kubectl("scale", "-n", SYSTEM, "deployment/gateway-plugin", "--replicas=0")
    await eventually(lambda: not _plugin_processes(cluster), "no plugin", 60)
    await asyncio.sleep(3)
    status, headers, text = await ask(url, MODEL)
    kind = headers.get("content-type", "none")
    told = f"{status} {error_code(text)} {kind} {len(text)} bytes retry-after={headers.get('retry-after')}"
    result.notes.append(f"without a plugin: {told}")
    result.expect(status in (500, 503), told)
    await cluster.objects.kubectl("scale", "-n", SYSTEM, "deployment/gateway-plugin", "--replicas=2")
    result.recovery_seconds = await serves(url, MODEL)


def _plugin_processes(cluster: TestCluster) -> list[str]:
    return [pod.name for pod in cluster.node.pods.values() if pod.is_a("plugin") and pod.namespace == SYSTEM]


async def kinds_replaced(cluster: TestCluster, result: Result) -> None:
    """Somebody deletes the CRD of HTTPRoutes, with all routes in it, and brings it back."""
    await cluster.objects.kubectl("delete", "crd", _ROUTES)
    await eventually(lambda: _is_deaf(cluster), "/readyz tells", 60)
    status, told = await readiness(cluster)
    result.expect(status == 503 and "httproutes" in told, f"{status} {told}")
    result.notes.append("seconds from the kind to the model's route")
    await cluster.objects.kubectl("apply", "--server-side", "-f", str(definitions() / "gatewayapi-crds.yaml"))
    result.recovery_seconds = await eventually(lambda: _is_routed(cluster), "the route is made anew", 60)
    await cluster.helm("upgrade", "gateway-plugin", SYSTEM)
    await cluster.stop_envoy_gateway()
    await cluster.start_envoy_gateway()
    await serves(await cluster.url(), MODEL, 90)


async def _is_deaf(cluster: TestCluster) -> bool:
    return (await readiness(cluster))[0] == 503


async def _is_routed(cluster: TestCluster) -> bool:
    version = "gateway.networking.k8s.io/v1"
    return await cluster.objects.find(version, "httproutes", SYSTEM, f"{MODEL}-router") is not None


async def api_away(cluster: TestCluster, result: Result) -> None:
    """The API server is away; requests are served as before, and what changed is found when it is back."""
    url = await cluster.url()
    async with flowing(url, MODEL) as outcome:
        await cluster.plane.stop_part("api")
        await asyncio.sleep(_AWAY_SECONDS)
        await cluster.plane.start_api()
        began = asyncio.get_running_loop().time()
        await cluster.objects.kubectl("scale", "-n", "default", f"deployment/{MODEL}", "--replicas=4")
        await eventually(lambda: len([pod for pod in outcome.pods if pod]) >= 4, "a fourth pod answers", 90)
        result.recovery_seconds = asyncio.get_running_loop().time() - began
    result.took(outcome)
    result.notes.append(f"away for {_AWAY_SECONDS:.0f} s; recovery: to the first answer of a pod that came after")
    await cluster.objects.kubectl("scale", "-n", "default", f"deployment/{MODEL}", "--replicas=3")
    await eventually(lambda: _is_heard(cluster), "/readyz is well", 60)


async def _is_heard(cluster: TestCluster) -> bool:
    return (await readiness(cluster))[0] == 200


async def authority_rotated(cluster: TestCluster, result: Result) -> None:
    """The API server's certificate is of a new authority; kubelets have brought its certificate to the pods."""
    url = await cluster.url()
    async with flowing(url, MODEL) as outcome:
        await cluster.plane.stop_part("api")
        cluster.plane.new_authority()
        for pod in cluster.node.pods.values():
            await pod.renew_account()
        await cluster.plane.start_api()
        await cluster.plane.stop_part("controllers")
        await cluster.plane.start_controllers()
        began = asyncio.get_running_loop().time()
        await eventually(lambda: _is_heard(cluster), "the controller follows again", 90)
        result.recovery_seconds = asyncio.get_running_loop().time() - began
    result.took(outcome)
    await cluster.stop_envoy_gateway()
    await cluster.start_envoy_gateway()


async def node_drained(cluster: TestCluster, result: Result) -> None:
    """`kubectl drain` of one node, through the disruption budgets, under traffic."""
    url = await cluster.url()
    async with flowing(url, MODEL) as outcome:
        began = asyncio.get_running_loop().time()
        await cluster.objects.kubectl("cordon", "node-1")
        waiting = [pod for pod in cluster.node.pods.values() if pod.pod["spec"].get("nodeName") == "node-1"]
        # Redis has one replica: what its absence costs is another flow.
        waiting = [pod for pod in waiting if "redis" not in pod.name]
        while waiting:
            waiting = [pod for pod in waiting if not await cluster.objects.evict(pod.namespace, pod.name)]
            await asyncio.sleep(0.5)
        await cluster.ready()
        result.recovery_seconds = asyncio.get_running_loop().time() - began
        await asyncio.sleep(3)
        await cluster.objects.kubectl("uncordon", "node-1")
    result.took(outcome)


async def envoy_gateway_away(cluster: TestCluster, result: Result) -> None:
    """Envoy Gateway restarts, as when it is upgraded; its Envoys go on."""
    url = await cluster.url()
    async with flowing(url, MODEL) as outcome:
        await cluster.stop_envoy_gateway()
        await asyncio.sleep(5)
        await cluster.start_envoy_gateway()
        await asyncio.sleep(5)
    result.took(outcome)


async def churn(cluster: TestCluster, result: Result) -> None:
    """Workloads come and go, kinds vanish and return, the API server restarts; for $CHURN_SECONDS."""
    loop, kind = asyncio.get_running_loop(), ("orchestration.aibrix.ai", "stormservices", "StormService")
    deadline, number, before = loop.time() + _CHURN_SECONDS, 0, await controller_figures(cluster)
    while loop.time() < deadline:
        number += 1
        await cluster.objects.apply(_model(f"churn-{number % 5}"))
        if number % 3 == 0:
            await cluster.objects.kubectl("delete", "deployment", f"churn-{(number + 2) % 5}", "--ignore-not-found")
        if number % 15 == 5:
            await cluster.objects.apply(definition(*kind))
        if number % 15 == 12:
            await cluster.objects.kubectl("delete", "crd", f"{kind[1]}.{kind[0]}", "--ignore-not-found")
        if number % 30 == 20:
            await cluster.plane.stop_part("api")
            await cluster.plane.start_api()
        await asyncio.sleep(0.5)
    await cluster.objects.kubectl("delete", "crd", f"{kind[1]}.{kind[0]}", "--ignore-not-found")
    result.recovery_seconds = await eventually(
        lambda: _is_as_demanded(cluster), "the objects that the workloads demand", 60
    )
    await asyncio.sleep(5)
    settled = await controller_figures(cluster)
    await asyncio.sleep(20)
    after = await controller_figures(cluster)
    result.api_calls = after.calls - before.calls
    result.expect(after.writes == settled.writes, f"{after.writes - settled.writes} writes while nothing happened")
    grown = (after.resident_bytes - before.resident_bytes) / 2**20
    result.expect(grown < 20, f"the controller grew by {grown:.0f} MiB")
    result.notes.append(f"{number} turns; the controller grew by {grown:.1f} MiB to {after.resident_bytes / 2**20:.0f}")
    await cluster.objects.kubectl("delete", "deployment", "-l", "test/churn=yes", "--ignore-not-found")


async def _is_as_demanded(cluster: TestCluster) -> bool:
    workloads = await cluster.objects.list("apps/v1", "deployments", "default", "test/churn=yes")
    wanted = {f"{item['metadata']['name']}-router" for item in workloads}
    routes = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    found = {item["metadata"]["name"] for item in routes if item["metadata"]["name"].startswith("churn-")}
    services = await cluster.objects.list("v1", "services", "default")
    made = {item["metadata"]["name"] for item in services if item["metadata"]["name"].startswith("churn-")}
    return found == wanted and {f"{name}-router" for name in made} == wanted


def _model(name: str) -> dict[str, object]:
    labels = {"model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000", "test/churn": "yes"}
    template = {
        "metadata": {"labels": {**labels, "app": name}, "annotations": {"test/idle": "yes"}},
        "spec": {"containers": [{"name": "engine", "image": "none"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


async def etcd_restored(cluster: TestCluster, result: Result) -> None:
    """The cluster's state is that of a backup: resource versions jump back, and nobody says so."""
    url = await cluster.url()
    copy = await cluster.plane.back_up_etcd()
    await cluster.plane.api_ready()
    await cluster.objects.apply(_model("after-the-backup"))
    await eventually(lambda: _has_route(cluster, "after-the-backup-router"), "its route", 60)
    async with flowing(url, MODEL) as outcome:
        await cluster.plane.restore_etcd(copy)
        began = asyncio.get_running_loop().time()
        await cluster.objects.apply(_model("after-the-restore"))
        await eventually(lambda: _has_route(cluster, "after-the-restore-router"), "what comes later is heard", 120)
        result.recovery_seconds = asyncio.get_running_loop().time() - began
    result.took(outcome)
    is_left = await _has_route(cluster, "after-the-backup-router")
    result.expect(not is_left, "the route of a workload that never was is still there")


async def _has_route(cluster: TestCluster, name: str) -> bool:
    return await cluster.objects.find("gateway.networking.k8s.io/v1", "httproutes", SYSTEM, name) is not None
