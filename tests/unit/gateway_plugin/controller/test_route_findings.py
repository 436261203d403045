"""Each mistake that people make is found, said once, about the right object; what is well is not spoken of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_plugin.controller.checks import check
from gateway_plugin.endpoints.endpoint_table import EndpointTable
from tests.fake_kubernetes import Cluster
from tests.unit.gateway_plugin.controller.clusters import (
    NAME,
    PORT,
    ROUTES,
    RULES,
    adapter,
    reconcile,
    service,
    snapshot_of,
    workload,
)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.create("gateways", {"metadata": {"name": "gateway", "namespace": ROUTES}})
    return cluster


def found(cluster: Cluster, *, after_seconds: float = 0.0) -> list[tuple[str, str]]:
    """What and about whom, after the controller has done what it can."""
    reconcile(cluster)
    now = datetime.now(UTC) + timedelta(seconds=after_seconds)
    findings = check(snapshot_of(cluster, pods=True), RULES, now)
    return [(finding.code, f"{finding.about.kind} {finding.about.name}") for finding in findings]


def test_a_sound_cluster_has_no_findings(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama", PORT: "8000"}))
    cluster.create("statefulsets", workload("b", {NAME: "llama"}))
    cluster.create("modeladapters", adapter("lora", "llama"))
    cluster.create("deployments", workload("database", {"tier": "db"}))
    cluster.create("pods", {"metadata": {"name": "a-1", "namespace": "models", "labels": {NAME: "llama"}}})
    assert found(cluster) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (workload("a", {NAME: ""}), "EmptyModelName"),
        (workload("a", {}, annotations={NAME: "  "}), "EmptyModelName"),
        (workload("a", {}, annotations={NAME: "модель"}), "UnroutableModelName"),
        (workload("a", {NAME: "llama", PORT: "http"}), "BadPort"),
        (workload("a", {NAME: "llama", PORT: "70000"}), "BadPort"),
        (workload("a", {NAME: "llama"}, pods={NAME: "qwen"}), "PodsOfOtherModel"),
        (workload("a", {NAME: "llama"}, pods={}), "PodsWithoutModel"),
        (workload("a", {NAME: "llama", PORT: "9000"}, pods={NAME: "llama"}), "PodsOnOtherPort"),
        (workload("a", {NAME: "llama"}, annotations={"model.aibrix.ai/service-name": "front"}), "ServiceMissing"),
        (workload("a", {NAME: "llama"}, annotations={"model.aibrix.ai/service-name": "a/b"}), "BadServiceName"),
        (
            workload(
                "a",
                {NAME: "llama"},
                annotations={"model.aibrix.ai/model-router-custom-paths": "/v1/load_lora_adapter, /v3"},
            ),
            "UnpublishedPath",
        ),
    ],
)
def test_mistakes_in_a_workload(cluster: Cluster, body: dict[str, Any], code: str):
    cluster.create("deployments", body)
    cluster.create("deployments", workload("sound", {NAME: "mistral"}))
    assert found(cluster) == [(code, "Deployment a")]
    assert "mistral-router" in cluster.names("httproutes", ROUTES)


def test_routes_take_the_table_of_endpoints_and_what_the_operator_adds(cluster: Cluster):
    annotations = {"model.aibrix.ai/model-router-custom-paths": "/v1/chat/completions, /v3,/v3/deep"}
    cluster.create("deployments", workload("a", {NAME: "llama"}, annotations=annotations))
    reconcile(cluster, replace(RULES, endpoints=EndpointTable(["/v3"])))
    (match,) = cluster.get("httproutes", "llama-router", ROUTES)["spec"]["rules"][0]["matches"]
    assert match["path"]["type"] == "RegularExpression"
    takes = re.compile(match["path"]["value"]).fullmatch
    paths = ("/v1/chat/completions", "/v1/responses/resp_1/cancel", "/v3", "/v1/messages/count_tokens")
    others = ("/v1/chat/completions/", "/v1/load_lora_adapter", "/v3/deep", "/generate", "/v1/models", "/health")
    assert [bool(takes(path)) for path in (*paths, *others)] == [True] * len(paths) + [False] * len(others)


def test_names_that_differ_in_case_or_blanks(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "Llama-8b"}))
    cluster.create("deployments", workload("b", {NAME: "llama-8b"}))
    cluster.create(
        "deployments", workload("c", {}, annotations={NAME: "llama -8b"}, pod_annotations={NAME: "llama -8b"})
    )
    assert found(cluster) == [("SimilarModelNames", f"Deployment {name}") for name in "abc"]


def test_a_service_that_misses_pods(cluster: Cluster):
    cluster.create("services", service("llama", {"app": "a"}, labels={NAME: "llama"}))
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    cluster.create("deployments", workload("b", {NAME: "llama"}))
    assert found(cluster) == [("ServiceMissesPods", "Deployment b")]


def test_a_service_without_the_engines_port(cluster: Cluster):
    cluster.create("services", service("llama", {NAME: "llama"}, targetPort=9000))
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    assert found(cluster) == [("ServicePortMissing", "Deployment a")]


def test_workloads_on_different_ports(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama", PORT: "8000"}))
    cluster.create("deployments", workload("b", {NAME: "llama", PORT: "8001"}))
    assert found(cluster) == [("MixedPorts", "Deployment a")]


def test_an_adapter_without_base(cluster: Cluster):
    cluster.create("modeladapters", adapter("lora", "llama"))
    assert found(cluster) == [("AdapterWithoutBase", "ModelAdapter lora")]


def test_a_route_that_the_gateway_does_not_accept(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    reconcile(cluster)
    condition = {"type": "ResolvedRefs", "status": "False", "reason": "RefNotPermitted", "message": "no grant"}
    parent = {"parentRef": {"name": "gateway", "namespace": ROUTES}, "conditions": [condition]}
    cluster.patch("httproutes", "llama-router", {"status": {"parents": [parent]}}, ROUTES)
    assert found(cluster) == [("RouteNotAccepted", "HTTPRoute llama-router")]


def test_a_route_that_nobody_looks_at_is_given_a_minute(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    assert found(cluster, after_seconds=30) == []
    assert ("RouteIgnored", "HTTPRoute llama-router") in found(cluster, after_seconds=90), "beside its Gateway's own"


def test_a_gateway_that_is_not_there(cluster: Cluster):
    cluster.delete("gateways", "gateway", ROUTES)
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    assert found(cluster) == [("GatewayMissing", "Gateway gateway")]


def test_a_second_route_for_the_same_model(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    match = {"headers": [{"name": "Model", "value": "llama"}]}
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"matches": [match]}]}
    cluster.create("httproutes", {"metadata": {"name": "mine", "namespace": ROUTES}, "spec": spec})
    assert found(cluster) == [("RivalRoute", "HTTPRoute mine")]


def test_a_route_name_that_is_taken(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    cluster.create("httproutes", {"metadata": {"name": "llama-router", "namespace": ROUTES}, "spec": {"rules": []}})
    assert found(cluster) == [("RouteNameTaken", "Deployment a")]


def test_a_service_of_the_models_name_that_is_not_the_models(cluster: Cluster):
    cluster.create("services", service("kubernetes", {}, namespace="default"))
    cluster.create("deployments", workload("a", {NAME: "kubernetes"}, namespace="default"))
    assert found(cluster) == [("ServiceNameTaken", "Deployment a")]
    (ref,) = cluster.get("httproutes", "kubernetes-router", ROUTES)["spec"]["rules"][0]["backendRefs"]
    assert ref["name"].startswith("kubernetes-")
    assert ref["name"] in cluster.names("services", "default")


@pytest.mark.parametrize("ending", [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}])
def test_pods_that_outlive_their_workload(cluster: Cluster, ending: dict[str, str]):
    metadata = {"name": "p", "namespace": "models", "labels": {NAME: "llama"}}
    cluster.create("pods", {"metadata": metadata, "status": {"phase": "Running" if ending else "Succeeded"}})
    if ending:
        cluster.start_deletion("pods", "p", "models")
    assert found(cluster) == []


def conditions(cluster: Cluster, *found: dict[str, str]) -> None:
    parent = {"parentRef": {"name": "gateway", "namespace": ROUTES}, "conditions": list(found)}
    cluster.patch("httproutes", "llama-router", {"status": {"parents": [parent]}}, ROUTES)


def test_a_model_whose_pods_are_not_there(cluster: Cluster):
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    reconcile(cluster)
    conditions(cluster, {"type": "BackendsAvailable", "status": "False", "reason": "EndpointsNotFound"})
    assert found(cluster) == [("NoReadyPods", "HTTPRoute llama-router")]


def test_what_a_gateway_leaves_undecided(cluster: Cluster):
    waiting = {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller"}
    cluster.create("deployments", workload("a", {NAME: "llama"}))
    reconcile(cluster)
    conditions(cluster, waiting)
    cluster.patch("gateways", "gateway", {"status": {"conditions": [waiting]}}, ROUTES)
    assert found(cluster, after_seconds=30) == []
    late = [("GatewayNotReady", "Gateway gateway"), ("RouteNotAccepted", "HTTPRoute llama-router")]
    assert found(cluster, after_seconds=90) == late


def test_pods_that_no_labelled_workload_makes(cluster: Cluster):
    for number in range(3):
        metadata = {"name": f"p-{number}", "namespace": "models", "labels": {NAME: "llama"}}
        cluster.create("pods", {"metadata": metadata})
    assert found(cluster) == [("PodsWithoutWorkload", "Pod p-0")]
    assert cluster.names("httproutes", ROUTES) == []
