"""Whether the Gateway asks the plugin: by name, by label, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_plugin.controller.policies import about_policies
from gateway_plugin.controller.routes import Parent
from gateway_plugin.controller.workloads import ClusterSnapshot, Ref

_PARENT = Parent("gateways", "gateway")
_BY_NAME = {"targetRefs": [{"kind": "Gateway", "name": "gateway"}]}
_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_OVERRIDE = {"loadBalancer": {"endpointOverride": {"extractFrom": [{"header": "Target-Pod"}]}}}
_EXT_PROC: dict[str, Any] = {"extProc": [{}]}


def policy(kind: str, spec: dict[str, Any], namespace: str = "gateways", **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "p", "namespace": namespace}, "spec": spec, "status": status}


def codes(*policies: dict[str, Any]) -> list[str]:
    gateway = {"metadata": {"labels": {"team": "llm"}}}
    snapshot = ClusterSnapshot(gateways={Ref("Gateway", "gateways", "gateway"): gateway}, policies=policies)
    return [finding.code for finding in about_policies(snapshot, _PARENT, _NOW)]


def test_both_policies_are_needed():
    assert codes() == ["EnvoyExtensionPolicyMissing", "BackendTrafficPolicyMissing"]
    sound = (policy("EnvoyExtensionPolicy", _BY_NAME | _EXT_PROC), policy("BackendTrafficPolicy", _BY_NAME | _OVERRIDE))
    assert codes(*sound) == []


@pytest.mark.parametrize(
    ("spec", "is_found"),
    [
        ({"targetRef": {"kind": "Gateway", "name": "gateway"}}, True),
        ({"targetSelectors": [{"kind": "Gateway", "matchLabels": {"team": "llm"}}]}, True),
        ({"targetSelectors": [{"kind": "Gateway", "matchLabels": {"team": "web"}}]}, False),
        ({"targetRefs": [{"kind": "HTTPRoute", "name": "gateway"}]}, False),
        ({"targetRefs": [{"kind": "Gateway", "name": "other"}]}, False),
    ],
)
def test_how_a_policy_names_its_gateway(spec: dict[str, Any], is_found: bool):
    found = codes(policy("EnvoyExtensionPolicy", spec | _EXT_PROC))
    assert ("EnvoyExtensionPolicyMissing" not in found) is is_found


def test_a_policy_elsewhere_or_for_something_else_does_not_count():
    assert len(codes(policy("EnvoyExtensionPolicy", _BY_NAME | _EXT_PROC, namespace="elsewhere"))) == 2
    assert len(codes(policy("EnvoyExtensionPolicy", _BY_NAME))) == 2
    header = {"loadBalancer": {"endpointOverride": {"extractFrom": [{"header": "x-other"}]}}}
    assert len(codes(policy("BackendTrafficPolicy", _BY_NAME | header))) == 2


def test_a_policy_that_is_not_accepted():
    condition = {"type": "Accepted", "status": "False", "reason": "Conflicted", "message": "two of them"}
    refused = policy("EnvoyExtensionPolicy", _BY_NAME | _EXT_PROC, ancestors=[{"conditions": [condition]}])
    assert codes(refused, policy("BackendTrafficPolicy", _BY_NAME | _OVERRIDE)) == ["PolicyNotAccepted"]


@pytest.mark.parametrize(("minutes", "expected"), [(0, []), (2, ["PolicyIgnored", "PolicyNotAccepted"])])
def test_a_policy_that_nobody_has_decided_about(minutes: int, expected: list[str]):
    condition = {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "waiting for a controller"}
    pending = policy("EnvoyExtensionPolicy", _BY_NAME | _EXT_PROC, ancestors=[{"conditions": [condition]}])
    ignored = policy("BackendTrafficPolicy", _BY_NAME | _OVERRIDE)
    for item in (pending, ignored):
        item["metadata"]["creationTimestamp"] = (_NOW - timedelta(minutes=minutes)).isoformat()
    assert sorted(codes(pending, ignored)) == expected


def test_nothing_is_said_where_nobody_looked():
    assert list(about_policies(ClusterSnapshot(gateways={_PARENT.ref: {}}), _PARENT, _NOW)) == []
