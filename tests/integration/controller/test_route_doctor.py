"""`gateway-plugin doctor` as people run it: exit codes, and every planted mistake by name."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from tests.fake_kubernetes import FakeServer
from tests.integration.controller.controller_harness import ROUTES, controller, deployment, eventually, workload

_NAME = "model.aibrix.ai/name"


async def doctor(kubeconfig: Path) -> tuple[int, str]:
    """Exit code and everything printed, without the second that a process of its own takes to start."""
    arguments = ["doctor", "--kubeconfig", str(kubeconfig)]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout + result.stderr


async def doctor_process(kubeconfig: Path) -> tuple[int, str]:
    """The same as people run it."""
    command = [sys.executable, "-m", "gateway_plugin", "doctor", "--kubeconfig", str(kubeconfig)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_sound_cluster(server: FakeServer, tmp_path: Path):
    server.cluster.create("deployments", deployment("a", "llama"))
    async with controller(server, tmp_path):
        await eventually(lambda: server.cluster.names("httproutes", ROUTES) == ["llama-router"], "one route")
    install_policies(server)
    before = server.cluster.history.version
    code, output = await doctor_process(server.kubeconfig(tmp_path))
    assert code == 0
    assert output.startswith("Nothing is wrong.")
    assert "models/llama:8000" in output
    assert server.cluster.history.version == before


async def test_every_planted_mistake_is_found(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    plant(server)
    code, output = await doctor(server.kubeconfig(tmp_path))
    assert code == 1
    for finding in (
        "EmptyModelName",
        "BadPort",
        "SimilarModelNames",
        "ServiceMissesPods",
        "ServiceMissing",
        "PodsWithoutModel",
        "RouteMissing",
        "RouteNotAccepted",
        "AdapterWithoutBase",
        "PodsWithoutWorkload",
        "GatewayMissing",
    ):
        assert f"{finding}:" in output, finding
    assert output.startswith(f"GatewayMissing: Gateway {ROUTES}/gateway-plugin: it does not exist")
    assert output.count("fix:") >= 11
    assert cluster.names("services", "models") == ["split"]


async def test_a_gateway_that_does_not_ask_the_plugin(server: FakeServer, tmp_path: Path):
    code, output = await doctor(server.kubeconfig(tmp_path))
    assert code == 1
    assert "EnvoyExtensionPolicyMissing:" in output
    assert "BackendTrafficPolicyMissing:" in output


def install_policies(server: FakeServer) -> None:
    """What the manifests bring."""
    metadata = {"name": "gateway-plugin", "namespace": ROUTES}
    target = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway-plugin"}]}
    processor = {"backendRefs": [{"name": "gateway-plugin", "port": 50052}]}
    server.cluster.create("envoyextensionpolicies", {"metadata": metadata, "spec": {**target, "extProc": [processor]}})
    override: dict[str, Any] = {"endpointOverride": {"extractFrom": [{"header": "target-pod"}]}}
    spec: dict[str, Any] = {**target, "loadBalancer": {"type": "LeastRequest", **override}}
    server.cluster.create("backendtrafficpolicies", {"metadata": metadata, "spec": spec})


def plant(server: FakeServer) -> None:
    """One of each."""
    cluster = server.cluster
    cluster.delete("gateways", "gateway-plugin", ROUTES)
    cluster.create("deployments", deployment("empty", ""))
    cluster.create("deployments", deployment("port", "a-model", port="eighty"))
    cluster.create("deployments", deployment("upper", "Llama"))
    cluster.create("deployments", deployment("lower", "llama"))
    cluster.create("deployments", workload("unlabelled", {_NAME: "b-model"}, {"app": "unlabelled"}))
    front = {"model.aibrix.ai/service-name": "nowhere"}
    cluster.create("deployments", deployment("front", "c-model", annotations=front))
    cluster.create("deployments", deployment("one", "split"))
    cluster.create("deployments", deployment("two", "split"))
    spec = {"selector": {"app": "one"}, "ports": [{"port": 8000}]}
    labelled = {"name": "split", "namespace": "models", "labels": {_NAME: "split"}}
    cluster.create("services", {"metadata": labelled, "spec": spec})
    lora = {"metadata": {"name": "lora", "namespace": "models"}, "spec": {"baseModel": "gone"}}
    cluster.create("modeladapters", lora)
    cluster.create("pods", {"metadata": {"name": "bare", "namespace": "models", "labels": {_NAME: "d-model"}}})
    cluster.create("httproutes", refused_route("split"))


def refused_route(model: str) -> dict[str, Any]:
    """A route whose Service the Gateway may not use."""
    parent = {"name": "gateway-plugin"}
    header = {"name": "model", "value": model}
    condition = {
        "type": "ResolvedRefs",
        "status": "False",
        "reason": "RefNotPermitted",
        "message": "no grant",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    state = {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": [condition]}
    return {
        "metadata": {"name": f"{model}-router", "namespace": ROUTES},
        "spec": {"parentRefs": [parent], "rules": [{"matches": [{"path": {"value": "/v1"}, "headers": [header]}]}]},
        "status": {"parents": [state]},
    }


async def test_somebody_who_may_read_one_namespace_only(server: FakeServer, tmp_path: Path):
    """All that hides from them is no mistake of the cluster."""
    cluster = server.cluster
    cluster.create("deployments", deployment("a", "llama", namespace="default"))
    cluster.create("deployments", deployment("secret", "other", namespace="elsewhere", port="none"))
    async with controller(server, tmp_path):
        await eventually(lambda: len(cluster.names("httproutes", ROUTES)) == 2, "routes")
    rule = {"apiGroups": ["", "apps"], "resources": ["deployments", "services", "pods"], "verbs": ["get", "list"]}
    server.access.add_role({"rules": [rule]}, "default")
    code, output = await doctor(server.kubeconfig(tmp_path))
    assert code == 0
    assert output.startswith("Nothing is wrong.")
    assert "default/llama:8000" in output
    assert f"Looked at in default, {ROUTES} only." in output
    assert "elsewhere" not in output


@pytest.mark.parametrize("broken", ["token", "address", "file"])
async def test_a_cluster_that_cannot_be_read(server: FakeServer, tmp_path: Path, broken: str):
    kubeconfig = server.kubeconfig(tmp_path)
    text = kubeconfig.read_text()
    if broken == "token":
        kubeconfig.write_text(text.replace(server.token, "wrong"))
    elif broken == "address":
        kubeconfig.write_text(text.replace(server.url, "http://127.0.0.1:1"))
    else:
        kubeconfig.write_text("{]")
    code, output = await doctor(kubeconfig)
    assert code == 2
    assert "gateway-plugin: the cluster cannot be read:" in output
    assert "Traceback" not in output
