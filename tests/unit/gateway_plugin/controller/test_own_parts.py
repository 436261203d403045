"""What is everyday of the gateway's own pods, and what is said of the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway_plugin.controller.own_parts import about_own_parts
from gateway_plugin.controller.workloads import ClusterSnapshot

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_LABELS = {"app.kubernetes.io/name": "gateway-plugin", "app.kubernetes.io/component": "plugin"}


def part(ready: int, *, replicas: int = 2, created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    metadata = {"name": "gateway-plugin", "namespace": "here", "labels": _LABELS, "creationTimestamp": created}
    spec = {"replicas": replicas, "selector": {"matchLabels": _LABELS}}
    return {"kind": "Deployment", "metadata": metadata, "spec": spec, "status": {"readyReplicas": ready}}


def pod(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"name": "one", "namespace": "here", "labels": _LABELS, **more.pop("metadata", {})}
    return {"kind": "Pod", "metadata": metadata, "status": {"containerStatuses": [{"state": state, **more}]}}


def codes(*own: dict[str, Any]) -> list[str]:
    return [finding.code for finding in about_own_parts(ClusterSnapshot(own=own), _NOW)]


_BROKEN = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}


def test_a_rollout_is_everyday():
    assert codes(part(1), pod({"waiting": {"reason": "ContainerCreating"}})) == []


def test_a_new_installation_has_time():
    assert codes(part(0, created="2026-05-31T23:59:30Z"), pod({"waiting": {"reason": "ContainerCreating"}})) == []
    assert codes(part(0), pod({"waiting": {"reason": "ContainerCreating"}})) == ["PluginNotReady"]


def test_a_version_that_cannot_start_is_told_though_the_one_before_serves():
    (finding,) = about_own_parts(ClusterSnapshot(own=(part(2), pod(_BROKEN))), _NOW)
    assert finding.message.endswith("; 2 of 2 are ready")


def test_a_pod_that_goes_says_nothing():
    assert codes(part(2), pod(_BROKEN, metadata={"deletionTimestamp": "2026-05-31T23:59:30Z"})) == []


def test_nobody_looked():
    assert list(about_own_parts(ClusterSnapshot(), _NOW)) == []


def test_a_pod_that_finds_no_node():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    lost = {"kind": "Pod", "metadata": pod({})["metadata"], "status": {"conditions": [condition]}}
    (finding,) = about_own_parts(ClusterSnapshot(own=(part(0), lost)), _NOW)
    assert "0/2 nodes" in finding.message
    assert "requests are answered 500" in finding.message


def test_no_pod_at_all():
    assert codes(part(0)) == ["PluginNotReady"]
    assert codes(part(0, replicas=0)) == ["PluginStopped"]
