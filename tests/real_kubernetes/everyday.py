"""Flows of every day: installing, asking, rolling, scaling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.real_kubernetes.cluster import SAMPLES, SYSTEM, TestCluster
from tests.real_kubernetes.controller_figures import controller_figures
from tests.real_kubernetes.kubectl import eventually
from tests.real_kubernetes.traffic import ask, error_code, flowing

if TYPE_CHECKING:
    from tests.real_kubernetes.results import Result

Json = dict[str, Any]

_QUIET_SECONDS = 20.0
MODEL = "simulated"
_PREFIX = "model.aibrix.ai"


async def install(cluster: TestCluster, result: Result) -> None:
    """The chart, the sample of a model, the first answer."""
    await cluster.install()
    result.recovery_seconds = await cluster.ready()
    await cluster.objects.kubectl("apply", "-f", str(SAMPLES / "simulator.yaml"))
    url = await cluster.url()
    await serves(url, MODEL)
    status, headers, text = await ask(url, MODEL)
    result.expect(status == 200 and headers.get("target-pod"), f"{status} {text}")
    status, _, text = await ask(url, "nowhere")
    result.expect((status, error_code(text)) == (400, "model_not_found"), f"{status} {text}")
    result.notes.append("seconds from `helm install` to a programmed Gateway")


async def quiet(cluster: TestCluster, result: Result) -> None:
    """Nothing happens, and the controller writes nothing."""
    before = await controller_figures(cluster)
    await asyncio.sleep(_QUIET_SECONDS)
    after = await controller_figures(cluster)
    result.api_calls = after.calls - before.calls
    result.expect(after.writes == before.writes, f"{after.writes - before.writes} writes")
    result.expect(not after.findings, f"findings: {after.findings}")
    result.notes.append(f"calls of {_QUIET_SECONDS:.0f} s; none is a write")


async def users(cluster: TestCluster, result: Result) -> None:
    """A user with two requests a minute, over the NodePort."""
    pod = cluster.plugins()[0]
    headers = {"Authorization": "Bearer of-a-test"}
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"name": "ann", "rpm": 2}
        async with session.post(f"http://{pod.address}:8090/CreateUser", json=body) as response:
            result.expect(response.status < 300, f"CreateUser: {response.status} {await response.text()}")
    url = await cluster.url()
    statuses = [(await ask(url, MODEL, user="ann"))[0] for _ in range(3)]
    result.requests = len(statuses)
    result.expect(statuses == [200, 200, 429], f"{statuses}")


async def two_gpu_types(cluster: TestCluster, result: Result) -> None:
    """The sample: two Deployments of one model behind one route, and both answer."""
    await cluster.objects.kubectl("apply", "-f", str(SAMPLES / "two-gpu-types.yaml"))
    routes = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    before = {route["metadata"]["name"] for route in routes}
    model = await _model_of_sample(cluster)
    url = await cluster.url()
    result.recovery_seconds = await serves(url, model)
    async with flowing(url, model) as outcome:
        await eventually(lambda: len(_deployments(outcome.pods)) >= 2, "both GPU types answer", 30)
    result.took(outcome)
    routes = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    new = {route["metadata"]["name"] for route in routes} - before
    result.expect(len(new) <= 1, f"routes: {new}")
    await cluster.objects.kubectl("delete", "-f", str(SAMPLES / "two-gpu-types.yaml"))


async def _model_of_sample(cluster: TestCluster) -> str:
    found = await cluster.objects.list("apps/v1", "deployments", "default", f"{_PREFIX}/name")
    return next(
        str(item["metadata"]["labels"][f"{_PREFIX}/name"]) for item in found if item["metadata"]["name"] != MODEL
    )


def _deployments(pods: Any) -> set[str]:
    return {name.rsplit("-", 2)[0] for name in pods if name}


async def aibrix_kinds(cluster: TestCluster, result: Result) -> None:
    """Kinds that appear while the controller runs: a Ray fleet and a LoRA adapter get their routes."""
    kinds = (
        ("orchestration.aibrix.ai", "rayclusterfleets", "RayClusterFleet"),
        ("model.aibrix.ai", "modeladapters", "ModelAdapter"),
    )
    await cluster.objects.apply(*(definition(*kind) for kind in kinds))
    await cluster.objects.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    labels = {f"{_PREFIX}/name": "fleet", f"{_PREFIX}/port": "8000"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "head", "image": "ray"}]}}
    fleet = {
        "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "kind": "RayClusterFleet",
        "metadata": {"name": "fleet", "namespace": "default", "labels": labels},
        "spec": {"template": {"spec": {"headGroupSpec": {"template": template}}}},
    }
    lora = {
        "apiVersion": "model.aibrix.ai/v1alpha1",
        "kind": "ModelAdapter",
        "metadata": {"name": "sql-lora", "namespace": "default"},
        "spec": {"baseModel": MODEL, "artifactURL": "huggingface://a/b"},
    }
    await cluster.objects.apply(fleet, lora)
    names = {"fleet-router", "sql-lora-router"}
    result.recovery_seconds = await eventually(lambda: _has_routes(cluster, names), "both routes", 60)
    await cluster.objects.kubectl("delete", "crd", *(f"{plural}.{group}" for group, plural, _ in kinds))
    gone = await eventually(lambda: _has_no_routes(cluster, names), "the routes go with their kinds", 90)
    result.notes.append(f"kinds to routes; routes went {gone:.1f} s after the kinds")


async def _has_routes(cluster: TestCluster, names: set[str]) -> bool:
    found = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    return names <= {item["metadata"]["name"] for item in found}


async def _has_no_routes(cluster: TestCluster, names: set[str]) -> bool:
    found = await cluster.objects.list("gateway.networking.k8s.io/v1", "httproutes", SYSTEM)
    return not names & {item["metadata"]["name"] for item in found}


async def roll_engines(cluster: TestCluster, result: Result) -> None:
    """`kubectl rollout restart` of the engines under traffic."""
    await _roll(cluster, result, "default", MODEL)


async def roll_plugin(cluster: TestCluster, result: Result) -> None:
    """The same of the plugin."""
    await _roll(cluster, result, SYSTEM, "gateway-plugin")


async def _roll(cluster: TestCluster, result: Result, namespace: str, deployment: str) -> None:
    url = await cluster.url()
    async with flowing(url, MODEL) as outcome:
        await asyncio.sleep(2)
        began = asyncio.get_running_loop().time()
        await cluster.objects.kubectl("rollout", "restart", "-n", namespace, f"deployment/{deployment}")
        await cluster.objects.kubectl(
            "rollout", "status", "-n", namespace, f"deployment/{deployment}", "--timeout=120s"
        )
        result.recovery_seconds = asyncio.get_running_loop().time() - began
        await asyncio.sleep(3)
    result.took(outcome)


async def scale_to_zero(cluster: TestCluster, result: Result) -> None:
    """0 and back: while nobody serves, clients are told to come again."""
    url = await cluster.url()
    await cluster.objects.kubectl("scale", "-n", "default", f"deployment/{MODEL}", "--replicas=0")
    await eventually(lambda: not any(pod.name.startswith(MODEL) for pod in cluster.node.pods.values()), "no pods", 60)
    await asyncio.sleep(2)
    status, headers, text = await ask(url, MODEL)
    told = f"{status} {error_code(text)} retry-after={headers.get('retry-after')}"
    result.notes.append(f"at zero: {told}")
    result.expect(status == 503 and headers.get("retry-after") and error_code(text), f"at zero: {told} {text[:200]}")
    await cluster.objects.kubectl("scale", "-n", "default", f"deployment/{MODEL}", "--replicas=3")
    result.recovery_seconds = await serves(url, MODEL)


async def serves(url: str, model: str, timeout_seconds: float = 60.0) -> float:
    """Waits for the first answer; seconds."""

    async def holds() -> bool:
        try:
            return (await ask(url, model))[0] == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    return await eventually(holds, f"{model} is served", timeout_seconds)


def definition(group: str, plural: str, kind: str) -> Json:
    """A CRD that takes any object."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [version],
        },
    }
