"""The store: lists and watches at the same time, and only what matters counts as a change."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from gateway_plugin.controller.kinds import DEPLOYMENT, SERVICE
from gateway_plugin.controller.object_store import Store
from gateway_plugin.controller.workloads import Ref
from tests.unit.gateway_plugin.controller.clusters import NAME, service, workload


def deployment(name: str = "a", model: str = "llama") -> dict[str, Any]:
    return workload(name, {NAME: model})


def names(store: Store) -> list[str]:
    return sorted(ref.name for ref in store.snapshot().workloads)


def test_updates_that_change_nothing_for_routes_are_no_changes():
    store = Store("model.aibrix.ai/")
    assert store.put(DEPLOYMENT, deployment())
    rolled = deepcopy(deployment())
    rolled["status"] = {"readyReplicas": 3}
    rolled["metadata"]["resourceVersion"] = "7"
    rolled["spec"]["replicas"] = 5
    assert not store.put(DEPLOYMENT, rolled)
    assert store.put(DEPLOYMENT, deployment(model="qwen"))


def test_workloads_without_a_model_are_not_kept_and_leave_when_they_lose_it():
    store = Store("model.aibrix.ai/")
    assert not store.put(DEPLOYMENT, workload("database", {}))
    store.put(DEPLOYMENT, deployment())
    assert store.put(DEPLOYMENT, workload("a", {}))
    assert names(store) == []


def test_a_list_says_what_is_gone():
    store = Store("model.aibrix.ai/")
    store.put(DEPLOYMENT, deployment("a"))
    store.put(DEPLOYMENT, deployment("b"))
    with store.listing() as touched:
        assert store.replace(DEPLOYMENT, [deployment("b")], touched)
    assert names(store) == ["b"]


def test_what_a_watch_says_during_a_list_is_newer_than_the_list():
    store = Store("model.aibrix.ai/")
    store.put(DEPLOYMENT, deployment("gone"))
    with store.listing() as touched:
        listed = [deployment("gone"), deployment("old")]
        store.put(DEPLOYMENT, deployment("new"))
        store.drop(Ref("Deployment", "models", "gone"))
        store.put(DEPLOYMENT, deployment("old", model="newer"))
        store.replace(DEPLOYMENT, listed, touched)
    assert names(store) == ["new", "old"]
    assert store.snapshot().workloads[Ref("Deployment", "models", "old")].labels[NAME] == "newer"


def test_two_lists_at_once_do_not_disturb_each_other():
    store = Store("model.aibrix.ai/")
    with store.listing() as first:
        with store.listing() as second:
            store.put(DEPLOYMENT, deployment("a"))
        store.replace(SERVICE, [service("llama", {})], second)
        store.put(DEPLOYMENT, deployment("b"))
        store.replace(DEPLOYMENT, [], first)
    assert names(store) == ["a", "b"]


def test_a_snapshot_does_not_change_later():
    store = Store("model.aibrix.ai/")
    store.put(DEPLOYMENT, deployment("a"))
    before = store.snapshot()
    store.drop(Ref("Deployment", "models", "a"))
    assert len(before.workloads) == 1
