"""What users see of adapters: where they are, what is said of them, and that none is lost or left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gateway_plugin.controller.adapters import adapter_round
from gateway_plugin.controller.adapters.adapter_spec import ModelAdapterSpec, read_adapter_spec
from gateway_plugin.controller.adapters.engine_calls import LoadAnswer, LoadOutcome
from gateway_plugin.controller.route_client import KubeError
from tests.unit.gateway_plugin.controller.adapters.adapted_cluster import AdaptedCluster, adapter


async def test_an_adapter_comes_to_every_pod_and_is_published():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    assert cluster.instances() == ["p0", "p1"]
    assert cluster.published == {"sql": ["p0", "p1"]}
    assert cluster.condition("Ready") == ("True", "ModelAdapterAvailable")
    assert cluster.objects["sql"]["status"]["phase"] == "Running"


async def test_a_quiet_cluster_is_not_written_to():
    cluster = AdaptedCluster(adapter())
    await cluster.look(3)
    before = (cluster.writes, len(cluster.calls), len(cluster.told))
    await cluster.look(20)
    assert (cluster.writes, len(cluster.calls), len(cluster.told)) == before


async def test_a_controller_that_starts_anew_loads_nothing_twice():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.round = cluster.restarted()
    await cluster.look(3)
    assert len(cluster.calls) == 2


async def test_so_many_replicas_and_the_same_ones_after_a_change():
    cluster = AdaptedCluster(adapter(replicas=2), pods=4)
    await cluster.look(2)
    first = cluster.instances()
    assert len(first) == 2
    cluster.objects["sql"]["spec"]["replicas"] = 3
    await cluster.look(2)
    assert set(first) < set(cluster.instances())
    cluster.objects["sql"]["spec"]["replicas"] = 1
    await cluster.look(3)
    assert len(cluster.instances()) == 1
    assert sum("sql" in held for held in cluster.held.values()) == 1


async def test_requests_end_before_an_adapter_leaves():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.using = 100
    cluster.objects["sql"]["metadata"]["deletionTimestamp"] = "now"
    await cluster.look(10)
    assert cluster.instances() == []
    assert not any(call[0] == "unload" for call in cluster.calls)
    cluster.using = 0
    await cluster.look(3)
    assert cluster.objects == {}
    assert not any(cluster.held.values())


async def test_where_nobody_can_say_what_runs_the_longest_wait_is_waited():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.using = None
    cluster.objects["sql"]["metadata"]["deletionTimestamp"] = "now"
    await cluster.look(5, seconds=5)
    assert not any(call[0] == "unload" for call in cluster.calls)
    await cluster.look(4, seconds=5)
    assert cluster.objects == {}


async def test_a_dead_pod_never_keeps_an_adapter_from_going():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.dead = {"p0", "p1"}
    cluster.objects["sql"]["metadata"]["deletionTimestamp"] = "now"
    await cluster.look(2)
    assert cluster.objects == {}


async def test_an_engine_that_starts_anew_gets_no_requests_before_the_adapter_is_back():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.unready, cluster.dead = {"p0"}, {"p0"}
    await cluster.look()
    assert cluster.instances() == ["p1"]
    cluster.restart_engine("p0")
    cluster.unready, cluster.dead = set(), set()
    await cluster.round.run()
    assert cluster.instances() == ["p1"]
    await cluster.round.runner.wait()
    await cluster.look()
    assert cluster.instances() == ["p0", "p1"]


async def test_another_artifact_is_loaded_in_place():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.objects["sql"]["spec"]["artifactURL"] = "hf://a/c"
    await cluster.look(3)
    assert [call[0] for call in cluster.calls] == ["load", "load", "reload", "reload"]
    assert set(cluster.held["p0"].values()) == {"a/c"}


async def test_what_was_refused_is_said_and_tried_ever_less_often():
    cluster = AdaptedCluster(adapter(), pods=1)
    cluster.refusal = LoadAnswer(LoadOutcome.REFUSED, "RankTooLarge", "rank 64 is above 16")
    await cluster.look(60, seconds=2)
    assert cluster.condition("Ready") == ("False", "RankTooLarge")
    assert cluster.objects["sql"]["status"]["phase"] == "Failed"
    assert len(cluster.calls) == 5  # after 0, 5, 15, 35 and 75 s
    cluster.refusal = None
    await cluster.look(120, seconds=2)
    assert cluster.instances() == ["p0"]


async def test_no_pods_is_said_at_once():
    cluster = AdaptedCluster(adapter())
    await cluster.look(2)
    cluster.held.clear()
    await cluster.look()
    assert cluster.instances() == []
    assert cluster.condition("Ready") == ("False", "NoPods")


async def test_what_cannot_be_an_adapter_is_said_and_stops_no_other():
    cluster = AdaptedCluster(adapter("wrong", "ftp://a/b"), adapter())
    await cluster.look(2)
    assert cluster.condition("Ready", "wrong") == ("False", "InvalidArtifact")
    assert cluster.instances() == ["p0", "p1"]


async def test_an_engine_that_does_not_list_adapters_is_asked_once():
    cluster = AdaptedCluster(adapter(), pods=1, engine="sglang")
    cluster.lists = False
    await cluster.look(10)
    assert cluster.calls == [("load", "p0", "sql")]
    assert cluster.instances() == ["p0"]


async def test_one_that_nobody_can_bear_keeps_no_other_from_its_pods(monkeypatch: pytest.MonkeyPatch):
    cluster = AdaptedCluster(adapter("monster"), adapter())
    read = read_adapter_spec

    def explode(raw: Mapping[str, Any]) -> ModelAdapterSpec:
        if raw["metadata"]["name"] == "monster":
            raise ZeroDivisionError
        return read(raw)

    monkeypatch.setattr(adapter_round, "read_adapter_spec", explode)
    await cluster.look(4)
    assert cluster.instances() == ["p0", "p1"]
    assert 0 < cluster.round.failing.total < 4
    assert "status" not in cluster.objects["monster"]


async def test_one_of_which_nothing_could_be_said_is_not_unloaded(monkeypatch: pytest.MonkeyPatch):
    """The gateway still sends requests to its pods."""
    cluster = AdaptedCluster(adapter(replicas=2), pods=2)
    await cluster.look(2)

    async def refuse(*_: Any) -> None:
        raise KubeError(422, "not so")

    monkeypatch.setattr(cluster, "write_status", refuse)
    cluster.objects["sql"]["spec"]["replicas"] = 1
    await cluster.look(30)
    assert not [call for call in cluster.calls if "unload" in str(call)]
