"""The controller as a process: what it says when it cannot start, and that it starts, answers probes and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.processes import script
from tests.fake_kubernetes import FakeServer
from tests.integration.controller.controller_harness import (
    ROLE,
    ROUTES,
    controller,
    deployment,
    eventually,
    fetch,
)


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        script("gateway-plugin"),
        "controller",
        env={**os.environ, "GATEWAY_BIND_HOST": "127.0.0.1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_it_routes_answers_probes_and_stops_on_sigterm(server: FakeServer, tmp_path: Path):
    port = free_port()
    server.cluster.create("deployments", deployment("a", "llama"))
    kubeconfig = str(server.kubeconfig(tmp_path))
    process = await start({"KUBECONFIG": kubeconfig, "GATEWAY_CONTROLLER_PORT": str(port)})
    try:
        await eventually(lambda: len(server.watches()) >= 10, "the watches are open")
        await eventually(lambda: server.cluster.names("httproutes", ROUTES) == ["llama-router"], "one route")
        assert (await fetch(port, "/healthz"))[0] == 200
        assert (await fetch(port, "/readyz"))[0] == 200
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert [line for line in lines if "WARNING" in line or "ERROR" in line] == []
    assert any("created HTTPRoute" in line for line in lines)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KUBECONFIG": "/nowhere"}, ["no cluster is configured"]),
        ({"GATEWAY_RESYNC_SECONDS": "0"}, ["resync_seconds = '0'", "allowed: 1 to 86400"]),
        ({"GATEWAY_LABEL_PREFIX": "Model/"}, ["label_prefix = 'Model/'"]),
    ],
)
def test_a_start_that_cannot_work(environment: dict[str, str], words: list[str]):
    result = CliRunner().invoke(cli, ["controller"], env={"GATEWAY_BIND_HOST": "127.0.0.1", **environment})
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.output


async def test_a_taken_port_is_named(server: FakeServer, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        process = await start({"KUBECONFIG": str(server.kubeconfig(tmp_path)), "GATEWAY_CONTROLLER_PORT": port})
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert f"controller_port: 127.0.0.1:{port} is taken" in output.decode()


async def test_only_the_namespaces_that_are_named_are_looked_at(server: FakeServer, tmp_path: Path):
    for namespace in ("models", "private"):
        server.cluster.create("deployments", deployment("a", f"in-{namespace}", namespace=namespace))
    for namespace in ("models", ROUTES):
        server.access.add_role(ROLE, namespace)
    # Ten kinds in two namespaces, and nothing of the cluster as a whole.
    async with controller(server, tmp_path, watches=20, kubernetes_namespaces="models"):
        await eventually(lambda: server.cluster.names("httproutes", ROUTES) == ["in-models-router"], "one route")
        server.cluster.create("deployments", deployment("b", "late"))
        await eventually(lambda: len(server.cluster.names("httproutes", ROUTES)) == 2, "the second, through a watch")
    assert server.cluster.names("services", "private") == []
    assert list(server.access.denied) == []
