"""What discovery makes of a cluster, over real HTTP and the real client."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from tests.fake_kubernetes import adapter, pod, readiness
from tests.integration.kubernetes.conftest import Following, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake_kubernetes import FakeServer

PORT = "model.aibrix.ai/port"
# What deploy/ grants the gateway for discovery.
ROLE = {
    "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["model.aibrix.ai"], "resources": ["modeladapters"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]
}


async def test_pods_come_change_and_go(server: FakeServer, tmp_path: Path) -> None:
    cluster = server.cluster
    cluster.create("pods", pod("a", "m", "10.0.0.1"))
    cluster.create("pods", pod("b", "m", "10.0.0.2", ready=False), "team")
    cluster.create("pods", pod("stranger", None, "10.0.0.3"))
    async with Following(server, tmp_path).started() as seen:
        assert [(spec.name, spec.address, spec.ready) for _, spec in seen.table.items()] == [
            ("a", "10.0.0.1:8000", True),
            ("b", "10.0.0.2:8000", False),
        ]
        cluster.patch("pods", "b", readiness(True), "team")
        await until(lambda: len(seen.addresses(ready_only=True)) == 2)
        cluster.start_deletion("pods", "a")
        await until(lambda: seen.addresses(ready_only=True) == {"10.0.0.2:8000"})
        assert len(seen.addresses()) == 2
        cluster.delete("pods", "a")
        await until(lambda: seen.addresses() == {"10.0.0.2:8000"})
        cluster.delete("pods", "b", "team")
        await until(lambda: not seen.table.models())


async def test_a_status_update_resets_nothing(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    async with Following(server, tmp_path).started() as seen:
        row = seen.table.row_of("10.0.0.1:8000")
        assert row is not None
        lease = seen.table.book(row)
        for ready in (False, True):
            server.cluster.patch("pods", "a", readiness(ready))
            await until(lambda ready=ready: bool(seen.addresses(ready_only=True)) is ready)  # type: ignore[misc]
            assert int(seen.table.columns.inflight_requests[row]) == 1
        told = len(seen.states)
        server.cluster.patch("pods", "a", {"status": {"message": "nothing that matters"}})
        await until(lambda: seen.counts().events["modified"] == 3)
        await asyncio.sleep(0.2)
        assert len(seen.states) == told
        lease.release()
        assert int(seen.table.columns.inflight_requests[row]) == 0
        assert all("m" in state.models for state in seen.states)


async def test_adapters_follow_their_instances(server: FakeServer, tmp_path: Path) -> None:
    cluster = server.cluster
    for number in (1, 2):
        cluster.create("pods", pod(f"p{number}", "base", f"10.0.0.{number}"))
    cluster.create("modeladapters", adapter("lora", ["p1"]))
    async with Following(server, tmp_path).started() as seen:
        assert seen.table.models() == ["base", "lora"]
        assert len(seen.table.view("lora")) == 1
        cluster.patch("modeladapters", "lora", {"status": {"instances": ["p1", "p2"]}})
        await until(lambda: len(seen.table.view("lora")) == 2)
        cluster.delete("modeladapters", "lora")
        await until(lambda: seen.table.models() == ["base"])


async def test_a_cluster_without_the_adapters_kind(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.uninstall("modeladapters")
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    async with Following(server, tmp_path).started() as seen:
        assert seen.table.models() == ["m"]


async def test_chosen_namespaces(server: FakeServer, tmp_path: Path) -> None:
    for number, namespace in enumerate(("one", "two", "three")):
        server.cluster.create("pods", pod("a", f"m-{namespace}", f"10.0.0.{number}"), namespace)
    async with Following(server, tmp_path, namespaces=("one", "two")).started() as seen:
        assert seen.table.models() == ["m-one", "m-two"]
        assert [spec.name for _, spec in seen.table.items()] == ["one/a", "two/a"]
        server.cluster.delete("pods", "a", "one")
        await until(lambda: seen.table.models() == ["m-two"])
    async with Following(server, tmp_path, namespaces=("three",)).started() as seen:
        assert [spec.name for _, spec in seen.table.items()] == ["a"]


async def test_only_labelled_pods_on_demand(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    server.cluster.create("pods", pod("b", None, "10.0.0.2", annotations={"model.aibrix.ai/name": "org/m"}))
    async with Following(server, tmp_path).started() as seen:
        assert seen.table.models() == ["m", "org/m"]
    async with Following(server, tmp_path, labelled_only=True).started() as seen:
        assert seen.table.models() == ["m"]


async def test_the_shipped_rights_suffice(server: FakeServer, tmp_path: Path) -> None:
    server.access.add_role(ROLE)
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    server.cluster.create("pods", pod("bad", "m", "10.0.0.2", labels={PORT: "http"}))
    async with Following(server, tmp_path).started() as seen:
        await seen.watching()
        await until(lambda: server.cluster.names("events") != [])
    assert server.access.denied == []


async def test_mistakes_are_told_once_and_cost_nobody_else_anything(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = server.cluster
    cluster.create("pods", pod("good", "m", "10.0.0.1"))
    cluster.create("pods", pod("bad-port", "m", "10.0.0.2", labels={PORT: "http"}))
    cluster.create("pods", pod("bad-config", "m", "10.0.0.3", annotations={"model.aibrix.ai/config": "{"}))
    cluster.create("pods", pod("empty", "", "10.0.0.4"))
    cluster.create("pods", pod("twin-1", "m", "10.0.0.5"))
    cluster.create("pods", pod("twin-2", "m", "10.0.0.5"))
    with caplog.at_level(logging.WARNING):
        async with Following(server, tmp_path).started() as seen:
            assert seen.addresses() == {"10.0.0.1:8000", "10.0.0.3:8000", "10.0.0.5:8000"}
            for phase in ("Pending", "Running"):
                cluster.patch("pods", "bad-port", {"status": {"phase": phase}})
            cluster.patch("pods", "good", readiness(False))
            await until(lambda: seen.counts().events["modified"] == 3 and not seen.discovery._changed.is_set())
            await until(lambda: len(cluster.names("events")) == 4)
    told = sorted(message.split(":")[0] for message in caplog.messages)
    assert told[:3] == ["Pod default/bad-config", "Pod default/bad-port", "Pod default/empty"]
    assert told[3].startswith("Pod default/twin-")
    assert len(told) == 4
    reasons = sorted(cluster.get("events", name)["reason"] for name in cluster.names("events"))
    assert reasons == ["BadConfig", "BadPort", "EmptyModelName", "SameAddress"]


async def test_events_may_be_forbidden(server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.faults.refuse_events = True
    for number in range(3):
        server.cluster.create("pods", pod(f"bad{number}", "m", f"10.0.0.{number}", labels={PORT: "http"}))
    with caplog.at_level(logging.INFO):
        async with Following(server, tmp_path).started() as seen:
            await until(lambda: seen.discovery._writer.outcomes["refused"] == 3)
    assert sum("Kubernetes Events cannot be written" in message for message in caplog.messages) == 1


async def test_it_is_not_ready_before_the_first_complete_list(server: FakeServer, tmp_path: Path) -> None:
    server.faults.fail(503, verb="list", resource="pods", times=2)
    server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
    seen = Following(server, tmp_path)
    assert "waiting for the first list of pods in all namespaces" in seen.discovery.problem
    async with seen.started():
        assert seen.discovery.problem == ""
        assert len(seen.states) == 1
    assert [request for request in server.requests if request == "list pods"] == ["list pods"] * 3


async def test_the_reason_is_named_while_it_waits(server: FakeServer, tmp_path: Path) -> None:
    server.access.add_role({"rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}]})
    seen = Following(server, tmp_path, namespaces=("team",))
    await seen.discovery.load()
    task = asyncio.create_task(seen.discovery.run())
    await until(lambda: "forbidden" in seen.discovery.problem)
    assert "waiting for the first list of pods in team" in seen.discovery.problem
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_metrics(server: FakeServer, tmp_path: Path) -> None:
    server.cluster.create("pods", pod("bad", "m", "10.0.0.2", labels={PORT: "http"}))
    async with Following(server, tmp_path).started() as seen:
        registry = CollectorRegistry()
        for collector in seen.discovery.collectors():
            registry.register(collector)
        await seen.watching()
        server.cluster.create("pods", pod("a", "m", "10.0.0.1"))
        await until(lambda: seen.counts().events["added"] == 1)
        server.close_watches("pods")
        await until(lambda: seen.counts().watch_ends["closed"] == 1)

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(name, labels)

        assert value("gateway_discovery_events_total", resource="pods", type="added") == 1
        assert value("gateway_discovery_lists_total", resource="pods", outcome="complete") == 1
        assert value("gateway_discovery_watch_ends_total", resource="pods", cause="closed") == 1
        assert value("gateway_discovery_synced") == 1
        assert value("gateway_discovery_complaints", reason="bad_port") == 1
        assert value("gateway_discovery_complaints", reason="same_address") == 0
        silence = value("gateway_discovery_silence_seconds", resource="pods")
        assert silence is not None
        assert 0 <= silence < 20
