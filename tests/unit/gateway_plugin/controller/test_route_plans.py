"""What the controller makes of a cluster, one change after another, until nothing is left to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_plugin.controller.change_plan import plan
from gateway_plugin.controller.desired import desired
from gateway_plugin.controller.routes import Parent
from tests.fake_kubernetes import Cluster
from tests.unit.gateway_plugin.controller.clusters import (
    NAME,
    PORT,
    ROUTES,
    RULES,
    adapter,
    planned,
    reconcile,
    service,
    snapshot_of,
    workload,
)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def backends(cluster: Cluster, route: str) -> list[tuple[str, str, int]]:
    refs = cluster.get("httproutes", route, ROUTES)["spec"]["rules"][0]["backendRefs"]
    return [(ref["namespace"], ref["name"], ref["port"]) for ref in refs]


def test_workloads_of_every_kind_share_the_route_of_their_model(cluster: Cluster):
    cluster.create("deployments", workload("a100", {NAME: "llama"}))
    cluster.create("statefulsets", workload("l4", {NAME: "llama"}))
    fleet = {"headGroupSpec": {"template": {"metadata": {"labels": {NAME: "llama"}}}}}
    metadata = {"name": "h100", "namespace": "models", "labels": {NAME: "llama"}}
    cluster.create("rayclusterfleets", {"metadata": metadata, "spec": {"template": {"spec": fleet}}})
    assert reconcile(cluster) == 3
    assert backends(cluster, "llama-router") == [("models", "llama", 8000)]
    assert cluster.get("services", "llama", "models")["spec"]["selector"] == {NAME: "llama"}


def test_the_last_workload_takes_everything_with_it_and_no_other_does(cluster: Cluster):
    cluster.create("deployments", workload("a100", {NAME: "llama"}))
    cluster.create("deployments", workload("l4", {NAME: "llama"}))
    reconcile(cluster)
    cluster.delete("deployments", "a100", "models")
    assert planned(cluster) == ()
    cluster.delete("deployments", "l4", "models")
    assert reconcile(cluster) == 3
    assert cluster.names("httproutes", ROUTES) == cluster.names("services", "models") == []


def test_a_changed_port_and_a_changed_label_change_the_route(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama", PORT: "8000"}))
    reconcile(cluster)
    cluster.update("deployments", workload("a", {NAME: "llama", PORT: "9000"}))
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("models", "llama", 9000)]
    assert cluster.get("services", "llama", "models")["spec"]["ports"][0]["targetPort"] == 9000
    cluster.update("deployments", workload("a", {NAME: "qwen", PORT: "9000"}))
    reconcile(cluster)
    assert cluster.names("httproutes", ROUTES) == ["qwen-router"]
    assert cluster.names("services", "models") == ["qwen"]


def test_a_model_in_two_namespaces_has_one_route_to_both(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}, namespace="east"))
    cluster.create("deployments", workload("a", {NAME: "llama"}, namespace="west"))
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("east", "llama", 8000), ("west", "llama", 8000)]
    grant = cluster.get("referencegrants", f"{ROUTES}-reserved-referencegrant-in-east", "east")
    assert grant["spec"]["from"][0]["namespace"] == ROUTES
    cluster.delete("deployments", "a", "east")
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("west", "llama", 8000)]
    assert cluster.names("referencegrants", "east") == []


def test_a_model_beside_the_routes_needs_no_grant(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}, namespace=ROUTES))
    reconcile(cluster)
    assert cluster.names("referencegrants", ROUTES) == []


def test_a_persons_service_is_used_and_never_touched(cluster: Cluster):
    cluster.create("services", service("llama", {"app": "a"}, labels={NAME: "llama"}, port=80, targetPort=8000))
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    before = cluster.get("services", "llama", "models")
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("models", "llama", 80)]
    cluster.delete("deployments", "a", "models")
    reconcile(cluster)
    assert cluster.get("services", "llama", "models") == before


def test_an_annotation_names_the_service_and_a_named_port_leads_to_the_engine(cluster: Cluster):
    ports = [{"name": "metrics", "containerPort": 9090}, {"name": "api", "containerPort": 8000}]
    annotations = {"model.aibrix.ai/service-name": "front"}
    cluster.create("deployments", workload("a", {NAME: "llama"}, annotations=annotations, ports=ports))
    front = service("front", {"app": "a"}, port=9090)
    front["spec"]["ports"].append({"port": 80, "targetPort": "api"})
    cluster.create("services", front)
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("models", "front", 80)]
    assert cluster.names("services", "models") == ["front"]


def test_a_name_with_a_slash_gets_a_service_per_workload(cluster: Cluster):
    annotations = {NAME: "Qwen/Qwen3"}
    for name in ("a", "b"):
        body = workload(name, {}, annotations=annotations, pod_annotations=annotations)
        cluster.create("deployments", body)
    reconcile(cluster)
    services = [cluster.get("services", name, "models") for name in cluster.names("services", "models")]
    assert sorted(item["spec"]["selector"]["app"] for item in services) == ["a", "b"]
    (route,) = cluster.names("httproutes", ROUTES)
    rule = cluster.get("httproutes", route, ROUTES)["spec"]["rules"][0]
    assert {match["headers"][0]["value"] for match in rule["matches"]} == {"Qwen/Qwen3"}
    assert len(rule["backendRefs"]) == 2


def test_a_label_and_an_annotation_are_two_names_of_the_same_pods(cluster: Cluster):
    named = {NAME: "Qwen/Qwen3"}
    cluster.create("deployments", workload("a", {NAME: "qwen"}, annotations=named, pod_annotations=named))
    reconcile(cluster)
    assert len(cluster.names("httproutes", ROUTES)) == 2
    assert backends(cluster, "qwen-router") == [("models", "qwen", 8000)]


def test_only_leaders_answer_where_a_replica_is_several_pods(cluster: Cluster):
    template = {"metadata": {"labels": {NAME: "llama"}}}
    metadata = {"name": "big", "namespace": "models", "labels": {NAME: "llama"}}
    spec = {"leaderWorkerTemplate": {"workerTemplate": template}}
    cluster.create("leaderworkersets", {"metadata": metadata, "spec": spec})
    reconcile(cluster)
    selector = cluster.get("services", "llama", "models")["spec"]["selector"]
    assert selector == {NAME: "llama", "leaderworkerset.sigs.k8s.io/worker-index": "0"}
    cluster.create("deployments", workload("small", {NAME: "llama"}))
    reconcile(cluster)
    assert cluster.get("services", "llama", "models")["spec"]["selector"] == {NAME: "llama"}


def test_data_parallel_ranks_are_ports_of_the_service(cluster: Cluster):
    env = [{"name": "data-parallel-size", "value": "3"}]
    cluster.create("deployments", workload("a", {NAME: "llama", PORT: "8100"}, env=env))
    reconcile(cluster)
    assert backends(cluster, "llama-router") == [("models", "llama", 8100 + rank) for rank in range(3)]


def test_an_adapter_is_routed_to_its_bases_service(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    cluster.create("modeladapters", adapter("sql-lora", "llama"))
    reconcile(cluster)
    assert backends(cluster, "sql-lora-router") == [("models", "llama", 8000)]
    rule = cluster.get("httproutes", "sql-lora-router", ROUTES)["spec"]["rules"][0]
    assert rule["matches"][0]["headers"] == [{"type": "Exact", "name": "model", "value": "sql-lora"}]


def test_an_adapter_has_no_route_while_it_has_no_base(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    cluster.create("modeladapters", adapter("sql-lora", "llama"))
    reconcile(cluster)
    cluster.delete("deployments", "a", "models")
    reconcile(cluster)
    assert cluster.names("httproutes", ROUTES) == []
    cluster.create("services", service("sql-lora", {}))
    reconcile(cluster)
    assert cluster.names("httproutes", ROUTES) == [], "it does not say that it is the adapter's"
    owner = {"kind": "ModelAdapter", "name": "sql-lora", "uid": "u", "apiVersion": "model.aibrix.ai/v1alpha1"}
    cluster.patch("services", "sql-lora", {"metadata": {"ownerReferences": [owner]}}, "models")
    reconcile(cluster)
    assert backends(cluster, "sql-lora-router") == [("models", "sql-lora", 8000)]


def test_nothing_is_deleted_while_some_workloads_cannot_be_seen(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    reconcile(cluster)
    cluster.delete("deployments", "a", "models")
    seen = snapshot_of(cluster)
    hidden = replace(seen, unreadable=frozenset({"StormService"}))
    assert len(plan(desired(seen, RULES), seen, NAME)) == 3
    assert plan(desired(hidden, RULES), hidden, NAME) == ()


def test_two_installations_leave_each_others_objects_alone(cluster: Cluster):
    others = replace(RULES, route_namespace="second", parent=Parent("second", "gateway"))
    cluster.ensure_namespace("second")
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    reconcile(cluster)
    reconcile(cluster, others)
    assert planned(cluster) == planned(cluster, others) == ()
    assert cluster.names("httproutes", "second") == cluster.names("httproutes", ROUTES) == ["llama-router"]
    assert len(cluster.names("referencegrants", "models")) == 2
    cluster.delete("deployments", "a", "models")
    reconcile(cluster, others)
    assert cluster.names("httproutes", ROUTES) == ["llama-router"], "its own controller takes it away"
    reconcile(cluster)
    assert cluster.names("httproutes", ROUTES) == []
    assert cluster.names("referencegrants", "models") == []
