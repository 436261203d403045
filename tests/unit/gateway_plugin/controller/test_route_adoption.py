"""Routes that exist already: AIBrix's, people's, and ours after people have edited them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_kubernetes import Cluster
from tests.unit.gateway_plugin.controller.clusters import NAME, ROUTES, planned, reconcile, workload


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    return cluster


def rule(model: str, **more: Any) -> dict[str, Any]:
    header = {"type": "Exact", "name": "model", "value": model}
    return {"matches": [{"path": {"type": "PathPrefix", "value": "/v1/completions"}, "headers": [header]}], **more}


def theirs(*rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "llama-router", "namespace": ROUTES}
    return {"metadata": metadata, "spec": {"parentRefs": [{"name": "aibrix-eg"}], "rules": list(rules), **spec}}


def route(cluster: Cluster) -> dict[str, Any]:
    return cluster.get("httproutes", "llama-router", ROUTES)


def test_aibrix_route_is_taken_over_and_cuts_streams_no_more(cluster: Cluster):
    backend = {"name": "llama", "namespace": "models", "port": 8000}
    cluster.create("httproutes", theirs(rule("llama", timeouts={"request": "120s"}, backendRefs=[backend])))
    reconcile(cluster)
    spec = route(cluster)["spec"]
    assert "timeouts" not in spec["rules"][0]
    assert [parent["name"] for parent in spec["parentRefs"]] == ["aibrix-eg", "gateway"]
    assert [match["path"]["type"] for match in spec["rules"][0]["matches"]] == ["RegularExpression"]
    assert route(cluster)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "gateway-plugin"


def test_what_others_wrote_into_a_route_stays(cluster: Cluster):
    modifier = {"set": [{"name": "x-team", "value": "nlp"}], "remove": ["server"]}
    filters = [
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier},
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}},
    ]
    other = {"matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}]}
    cluster.create("httproutes", theirs(other, rule("llama", filters=filters), hostnames=["llm.example"]))
    reconcile(cluster)
    spec = route(cluster)["spec"]
    assert spec["hostnames"] == ["llm.example"]
    assert spec["rules"][0] == other
    header = {"name": "target-pod-ip", "value": "%UPSTREAM_REMOTE_ADDRESS%"}
    changed = {"set": [{"name": "x-team", "value": "nlp"}, header], "remove": ["server"]}
    assert spec["rules"][1]["filters"] == [filters[0] | {"responseHeaderModifier": changed}, filters[1]]


def test_only_our_part_goes_when_others_have_rules_in_it(cluster: Cluster):
    other = {"matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}]}
    cluster.create("httproutes", theirs(other, rule("llama")))
    reconcile(cluster)
    cluster.delete("deployments", "a", "models")
    reconcile(cluster)
    assert route(cluster)["spec"]["rules"] == [other]
    assert "app.kubernetes.io/managed-by" not in route(cluster)["metadata"]["labels"]


def test_a_route_of_our_name_that_means_something_else_is_left_alone(cluster: Cluster):
    cluster.create("httproutes", theirs({"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}))
    assert planned(cluster) == ()


@pytest.mark.parametrize(
    "edit",
    [
        {"spec": {"rules": []}},
        {"spec": {"parentRefs": []}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "helm"}}},
        {"metadata": {"annotations": {NAME: None}}},
    ],
)
def test_an_edit_of_our_part_is_healed(cluster: Cluster, edit: dict[str, Any]):
    reconcile(cluster)
    before = route(cluster)
    cluster.patch("httproutes", "llama-router", edit, ROUTES)
    reconcile(cluster)
    assert route(cluster)["spec"] == before["spec"]
    assert route(cluster)["metadata"]["labels"] == before["metadata"]["labels"]
    assert route(cluster)["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_what_the_server_fills_in_is_no_reason_to_write(cluster: Cluster):
    reconcile(cluster)
    cluster.patch("services", "llama", {"spec": {"clusterIP": "10.0.0.1", "type": "ClusterIP"}}, "models")
    filled = route(cluster)["spec"]
    filled["rules"][0] |= {"name": "by-the-server"}
    cluster.patch("httproutes", "llama-router", {"spec": filled, "status": {"parents": []}}, ROUTES)
    assert planned(cluster) == ()


def test_an_edited_service_of_ours_is_healed_to_the_last_label(cluster: Cluster):
    reconcile(cluster)
    selector = {"app": "wrong", NAME: "other"}
    cluster.patch("services", "llama", {"spec": {"selector": selector, "ports": []}}, "models")
    reconcile(cluster)
    spec = cluster.get("services", "llama", "models")["spec"]
    assert spec["selector"] == {NAME: "llama"}
    assert [port["port"] for port in spec["ports"]] == [8000]


def test_a_grant_for_others_keeps_what_it_grants(cluster: Cluster):
    name = f"{ROUTES}-reserved-referencegrant-in-models"
    sender = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "elsewhere"}
    spec = {"from": [sender], "to": [{"group": "", "kind": "Service"}]}
    cluster.create("referencegrants", {"metadata": {"name": name, "namespace": "models"}, "spec": spec})
    reconcile(cluster)
    senders = cluster.get("referencegrants", name, "models")["spec"]["from"]
    assert [item["namespace"] for item in senders] == ["elsewhere", ROUTES]
    cluster.delete("deployments", "a", "models")
    reconcile(cluster)
    assert cluster.get("referencegrants", name, "models")["spec"]["from"] == [sender]
