"""The controller when the API server, the network or the permissions fail it: it says so once, and the rest goes on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.fake_kubernetes import FakeServer
from tests.integration.controller.controller_harness import (
    ROLE,
    ROUTES,
    controller,
    debug_routes,
    deployment,
    eventually,
    eventually_ready,
    fetch,
    quiet,
)


def routes(server: FakeServer) -> list[str]:
    return server.cluster.names("httproutes", ROUTES)


async def test_it_needs_no_more_than_it_is_granted(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    server.access.add_role(ROLE)
    async with controller(server, tmp_path):
        cluster.create("deployments", deployment("a", "llama"))
        cluster.create("deployments", deployment("b", "Llama"))
        await eventually(lambda: len(routes(server)) == 2, "routes")
        await eventually(lambda: len(cluster.names("events", "models")) == 2, "Events about the similar names")
        cluster.patch("services", "llama", {"spec": {"selector": {"app": "other"}}}, "models")
        cluster.delete("deployments", "b", "models")
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        await quiet(server)
    assert list(server.access.denied) == []


async def test_a_kind_that_may_not_be_read_stops_deletions_and_is_named(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    hidden = {**ROLE["rules"][1], "resources": ["leaderworkersets", "rayclusterfleets", "modeladapters"]}
    server.access.add_role({"rules": [ROLE["rules"][0], hidden, *ROLE["rules"][2:]]})
    async with controller(server, tmp_path, watches=9) as port:
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        cluster.delete("deployments", "a", "models")
        await quiet(server)
        assert routes(server) == ["llama-router"]
        (finding,) = (await debug_routes(port))["findings"]
    assert finding["code"] == "KindUnreadable"
    assert "stormservices.orchestration.aibrix.ai" in finding["fix"]


async def test_a_failed_write_is_told_and_tried_again_and_the_rest_goes_on(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    server.faults.fail(403, verb="create", resource="services", times=2)
    server.cluster.create("deployments", deployment("a", "llama"))
    server.cluster.create("deployments", deployment("b", "qwen", namespace="other"))
    async with controller(server, tmp_path):
        await eventually(lambda: len(routes(server)) == 2, "both routes, Services or not")
        await eventually(lambda: server.cluster.names("services", "models") == ["llama"], "a later attempt")
        await eventually(lambda: server.cluster.names("services", "other") == ["qwen"], "a later attempt")
    told = [record for record in caplog.records if record.getMessage().startswith("WriteFailed")]
    assert len(told) == 2
    (event,) = [server.cluster.get("events", name, "models") for name in server.cluster.names("events", "models")]
    assert event["reason"] == "WriteFailed"
    assert event["involvedObject"]["name"] == "llama"


async def test_routes_in_a_namespace_that_is_missing(server: FakeServer, tmp_path: Path):
    server.cluster.create("deployments", deployment("a", "llama"))
    async with controller(server, tmp_path, route_namespace="nowhere", gateway_namespace=ROUTES) as port:
        await eventually(lambda: server.cluster.names("services", "models") == ["llama"], "the Service at least")
        while not (codes := {finding["code"] for finding in (await debug_routes(port))["findings"]}):
            await quiet(server, 0.1)
        assert codes == {"WriteFailed"}
        server.cluster.ensure_namespace("nowhere")
        await eventually(lambda: server.cluster.names("httproutes", "nowhere") == ["llama-router"], "a later attempt")


async def test_the_start_waits_for_an_api_that_answers(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    server.faults.fail(503, verb="list", resource="services", times=2)
    server.cluster.create("deployments", deployment("a", "llama"))
    async with controller(server, tmp_path) as port:
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        await eventually_ready(port)
    told = [record for record in caplog.records if "cannot be read" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]


async def test_what_happens_while_watches_are_broken_is_found(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path, resync_seconds=1):
        for name in ("a", "b"):
            cluster.create("deployments", deployment(name, f"model-{name}"))
        await eventually(lambda: len(routes(server)) == 2, "two routes")
        server.abort_watches()
        cluster.delete("deployments", "a", "models")
        cluster.create("deployments", deployment("c", "model-c"))
        cluster.forget_history()
        await eventually(lambda: routes(server) == ["model-b-router", "model-c-router"], "the state of now")


async def test_a_lagging_watch_takes_no_model_away(server: FakeServer, tmp_path: Path):
    """The same name deleted and created again: whoever believes the first word alone would delete the route."""
    cluster = server.cluster
    async with controller(server, tmp_path):
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: routes(server) == ["llama-router"], "one route")
        uid = cluster.get("httproutes", "llama-router", ROUTES)["metadata"]["uid"]
        server.faults.watch_delay_seconds = 0.5
        cluster.delete("deployments", "a", "models")
        cluster.create("deployments", deployment("a2", "llama"))
        await quiet(server, 1.5)
        assert cluster.get("httproutes", "llama-router", ROUTES)["metadata"]["uid"] == uid


async def test_findings_become_events_and_are_shown_by_debug_routes(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    cluster.create("deployments", deployment("a", "llama"))
    cluster.create("deployments", deployment("b", "LLaMA"))
    for _ in range(2):  # a restart makes no second Event
        async with controller(server, tmp_path) as port:
            await eventually(lambda: len(cluster.names("events", "models")) == 2, "one Event for each")
            await quiet(server)
            shown = await debug_routes(port)
            metrics = (await fetch(port, "/metrics"))[1]
    first = cluster.get("events", cluster.names("events", "models")[0], "models")
    assert (first["reason"], first["type"]) == ("SimilarModelNames", "Warning")
    assert server.requests.count("patch events") == 2
    assert (
        first["involvedObject"]["uid"]
        == cluster.get("deployments", first["involvedObject"]["name"], "models")["metadata"]["uid"]
    )
    by_model = {route["model"]: route for route in shown["routes"]}
    assert by_model["llama"]["backends"] == ["models/llama:8000"]
    assert [finding["code"] for finding in by_model["llama"]["findings"]] == ["SimilarModelNames"]
    assert 'gateway_controller_findings{code="SimilarModelNames"} 2.0' in metrics


async def test_a_quarrel_with_another_controller_ends(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path) as port:
        cluster.create("deployments", deployment("a", "llama"))
        await eventually(lambda: cluster.names("services", "models") == ["llama"], "the Service")
        for _ in range(40):
            cluster.patch("services", "llama", {"spec": {"selector": {"app": "other"}}}, "models")
            await asyncio.sleep(0.05)
        await quiet(server)
        assert server.requests.count("patch services") <= 10
        codes = [finding["code"] for finding in (await debug_routes(port))["findings"]]
    assert codes == ["Contested"]


async def test_a_long_outage_of_the_api_is_survived(server: FakeServer, tmp_path: Path):
    cluster = server.cluster
    async with controller(server, tmp_path):
        server.faults.fail(503, times=10_000)
        server.abort_watches()
        cluster.create("deployments", deployment("a", "llama"))
        await asyncio.sleep(2.5)
        server.faults.heal()
        await eventually(lambda: routes(server) == ["llama-router"], "the route, after the outage")
