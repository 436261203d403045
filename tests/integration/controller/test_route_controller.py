"""The controller: routes come, follow, and go with the workloads of their models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fake_kubernetes import FakeServer, Resource
from tests.fake_kubernetes.errors import already_exists
from tests.integration.controller.controller_harness import (
    ROUTES,
    controller,
    debug_routes,
    deployment,
    eventually,
    eventually_ready,
    fetch,
    quiet,
    workload,
)


def routes(server: FakeServer) -> list[str]:
    return server.cluster.names("httproutes", ROUTES)


def backend(server: FakeServer, route: str) -> dict[str, Any]:
    (ref,) = server.cluster.get("httproutes", route, ROUTES)["spec"]["rules"][0]["backendRefs"]
    return {key: ref[key] for key in ("namespace", "name", "port")}


async def test_two_deployments_of_one_model_share_one_route_until_the_last_is_gone(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path):
        cluster.create("deployments", deployment("llama-a100", "llama"))
        cluster.create("deployments", deployment("llama-l4", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        assert cluster.names("services", "models") == ["llama"]
        assert cluster.names("referencegrants", "models") == [f"{ROUTES}-reserved-referencegrant-in-models"]
        cluster.delete("deployments", "llama-a100", "models")
        await quiet(server)
        assert routes(server) == ["llama-router"]
        cluster.delete("deployments", "llama-l4", "models")
        await eventually(lambda: routes(server) == [], "no route")
        await eventually(lambda: cluster.names("services", "models") == [], "no Service")
        await eventually(lambda: cluster.names("referencegrants", "models") == [], "no grant")


async def test_what_was_there_before_the_controller_is_routed_and_left_alone(server: FakeServer, tmp_path: Path):
    body = deployment("llama-a100", "llama")
    server.cluster.create("deployments", body)
    before = server.cluster.get("deployments", "llama-a100", "models")
    async with controller(server, tmp_path):
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        await quiet(server)
    assert server.cluster.get("deployments", "llama-a100", "models") == before
    assert not [request for request in server.requests if request.startswith(("patch", "update"))]


async def test_a_changed_port_and_a_changed_label_are_followed(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path):
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        cluster.update("deployments", deployment("a", "llama", port="9000"))
        await eventually(lambda: backend(server, "llama-router")["port"] == 9000, "the new port")
        assert cluster.get("services", "llama", "models")["spec"]["ports"][0]["targetPort"] == 9000
        cluster.update("deployments", deployment("a", "qwen", port="9000"))
        await eventually(lambda: routes(server) == ["qwen-router"], "the route of the new model alone")


async def test_a_manual_edit_is_healed(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path):
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        before = cluster.get("httproutes", "llama-router", ROUTES)["spec"]
        broken = [{"matches": before["rules"][0]["matches"], "backendRefs": []}]
        cluster.patch("httproutes", "llama-router", {"spec": {"rules": broken}}, ROUTES)
        cluster.patch("services", "llama", {"spec": {"selector": {"app": "other"}}}, "models")
        await eventually(
            lambda: (
                cluster.get("httproutes", "llama-router", ROUTES)["spec"] == before
                and cluster.get("services", "llama", "models")["spec"]["selector"] == {"model.aibrix.ai/name": "llama"}
            ),
            "both are as before",
        )
        cluster.delete("httproutes", "llama-router", ROUTES)
        await eventually(lambda: routes(server) == ["llama-router"], "the route is back")


async def test_two_controllers_race_and_nothing_is_lost(server: FakeServer, tmp_path: Path):
    async with controller(server, tmp_path) as one, controller(server, tmp_path) as two:
        for number in range(30):
            server.cluster.create("deployments", deployment(f"d-{number}", f"model-{number}"))
        await eventually(lambda: len(routes(server)) == 30, "thirty routes")
        await quiet(server)
        shown = [await debug_routes(port) for port in (one, two)]
        metrics = [(await fetch(port, "/metrics"))[1] for port in (one, two)]
    assert [len(page["routes"]) for page in shown] == [30, 30]
    assert [page["findings"] for page in shown] == [[], []]
    assert not any('outcome="failed"' in page for page in metrics)


async def test_a_create_that_comes_second_is_no_failure(server: FakeServer, tmp_path: Path):
    def someone_is_faster(resource: Resource, body: dict[str, Any]) -> None:
        if resource.plural == "httproutes":
            server.cluster.admission.remove(someone_is_faster)
            (rule,) = body["spec"]["rules"]
            other = {**body, "spec": {**body["spec"], "rules": [{**rule, "backendRefs": []}]}}
            server.cluster.create("httproutes", other)
            raise already_exists(resource.name, body["metadata"]["name"])

    server.cluster.admission.append(someone_is_faster)
    async with controller(server, tmp_path) as port:
        server.cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: "patch httproutes" in server.requests, "the other's route is completed")
        await quiet(server)
        assert backend(server, "llama-router")["name"] == "llama"
        assert (await debug_routes(port))["findings"] == []


async def test_an_adapter_is_routed_to_its_bases_service(server: FakeServer, tmp_path: Path):
    async with controller(server, tmp_path):
        labels = {"model.aibrix.ai/name": "sql-lora"}
        metadata = {"name": "sql-lora", "namespace": "models", "labels": labels}
        server.cluster.create("modeladapters", {"metadata": metadata, "spec": {"baseModel": "llama"}})
        await quiet(server)
        assert routes(server) == []
        server.cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router", "sql-lora-router"], "both routes")
        assert backend(server, "sql-lora-router") == {"namespace": "models", "name": "llama", "port": 8000}


async def test_a_kind_that_is_installed_later_is_served(server: FakeServer, tmp_path: Path):
    kind = server.cluster.resource("leaderworkersets")
    server.cluster.uninstall("leaderworkersets")
    async with controller(server, tmp_path, watches=9):
        server.cluster.install(kind)
        await eventually(lambda: bool(server.watches("leaderworkersets")), "the new kind is watched")
        pods = {"model.aibrix.ai/name": "deepseek"}
        body = workload("big", pods, pods)
        body["spec"] = {"leaderWorkerTemplate": {"workerTemplate": body["spec"]["template"]}}
        server.cluster.create("leaderworkersets", body)
        await eventually(lambda: routes(server) == ["deepseek-router"], "its route")


@pytest.mark.parametrize("plural", ["httproutes", "deployments", "rayclusterfleets"])
async def test_a_kind_that_goes_and_comes_back_is_followed_again(plural: str, server: FakeServer, tmp_path: Path):
    """With all its objects gone, as when somebody replaces a CustomResourceDefinition."""
    cluster, kind = server.cluster, server.cluster.resource(plural)
    async with controller(server, tmp_path) as port:
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        cluster.uninstall(plural)
        server.close_watches(plural)
        if plural != "rayclusterfleets":
            gone = [f"{plural} in all namespaces: no such kind"]
            while await eventually_ready(port, ready=False) != gone:
                await quiet(server, 0.1)
            await quiet(server)
            assert [finding["code"] for finding in (await debug_routes(port))["findings"]] == ["KindMissing"]
        cluster.install(kind)
        await eventually(lambda: bool(server.watches(plural)), "the kind is watched again")
        await eventually_ready(port)
        if plural == "deployments":
            cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "the route, made anew")


async def test_a_quiet_cluster_is_left_alone(server: FakeServer, tmp_path: Path):
    """Complete readings, one after the other, find nothing to do."""
    async with controller(server, tmp_path, resync_seconds=1) as port:
        server.cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        await quiet(server)
        before, readings = server.cluster.history.version, server.requests.count("list services")
        await eventually(lambda: server.requests.count("list services") >= readings + 3, "three readings")
        assert server.cluster.history.version == before
        assert (await debug_routes(port))["findings"] == []


async def test_it_stops_at_once(server: FakeServer, tmp_path: Path):
    async with controller(server, tmp_path):
        await quiet(server, 0.1)
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before < 5
