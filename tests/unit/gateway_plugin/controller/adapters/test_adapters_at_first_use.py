"""Adapters that come with their first request, and go when others are used more."""

from __future__ import annotations

from typing import Any

from tests.unit.gateway_plugin.controller.adapters.adapted_cluster import AdaptedCluster, adapter


def lazy(name: str) -> dict[str, Any]:
    one = adapter(name, f"hf://a/{name}")
    one["metadata"]["annotations"] = {"model.aibrix.ai/load": "first-use"}
    return one


async def test_nothing_is_loaded_before_somebody_asks_and_then_on_one_pod():
    cluster = AdaptedCluster(lazy("sql"))
    await cluster.look(5)
    assert cluster.calls == []
    assert cluster.condition("Ready") == ("False", "NotUsedYet")
    assert cluster.objects["sql"]["status"]["phase"] == "Pending"
    cluster.held_for = {"sql": 3}
    await cluster.look(2)
    assert len(cluster.instances()) == 1
    cluster.held_for = {}
    await cluster.look(5)
    assert len(cluster.calls) == 1
    assert cluster.objects["sql"]["status"]["phase"] == "Running"


async def test_of_too_many_the_least_used_goes_and_comes_back_when_it_is_asked_for():
    cluster = AdaptedCluster(*(lazy(name) for name in ("a", "b", "c")), pods=1)
    cluster.arguments = ["--enable-lora", "--max-cpu-loras=2"]
    cluster.held_for, cluster.rates = {"a": 1, "b": 1}, {"a": 0.1, "b": 5.0, "c": 1.0}
    await cluster.look(3)
    assert set(cluster.held["p0"]) == {"a", "b"}
    cluster.held_for = {"c": 1}
    await cluster.look(5)
    assert set(cluster.held["p0"]) == {"b", "c"}
    assert cluster.objects["a"]["status"]["phase"] == "Evicted"
    assert cluster.condition("Ready", "a") == ("False", "Evicted")
    assert "Evicted" in cluster.told
    cluster.held_for, cluster.rates = {"a": 1}, {"a": 9.0, "b": 5.0, "c": 1.0}
    await cluster.look(5)
    assert set(cluster.held["p0"]) == {"a", "b"}


async def test_what_has_requests_is_not_let_go_for_another():
    cluster = AdaptedCluster(lazy("a"), lazy("b"), pods=1)
    cluster.arguments = ["--max-cpu-loras", "1"]
    cluster.held_for = {"a": 1}
    await cluster.look(2)
    cluster.using = 4
    cluster.held_for = {"b": 1}
    await cluster.look(5)
    assert "a" in cluster.held["p0"]
    assert not any(call[0] == "unload" for call in cluster.calls)


async def test_adapters_that_are_wanted_everywhere_stay_whatever_is_used():
    cluster = AdaptedCluster(adapter("always"), lazy("a"), pods=1)
    cluster.arguments = ["--max-cpu-loras", "1"]
    cluster.held_for = {"a": 1}
    await cluster.look(8)
    assert "always" in cluster.held["p0"]
