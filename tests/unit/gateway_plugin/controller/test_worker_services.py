"""Services that send requests to workers are named, with what to add to their selectors."""

from __future__ import annotations

import pytest

from gateway_plugin.controller.worker_services import services_of_workers
from gateway_plugin.controller.workloads import ClusterSnapshot, Ref

MODEL = {"model.aibrix.ai/name": "qwen"}


def snapshot(selector: dict[str, str], *pods: dict[str, str]) -> ClusterSnapshot:
    service = {"metadata": {"name": "qwen", "namespace": "default"}, "spec": {"selector": selector}}
    found = tuple(
        {"metadata": {"name": str(number), "namespace": "default", "labels": one}} for number, one in enumerate(pods)
    )
    return ClusterSnapshot(services={Ref("Service", "default", "qwen"): service}, pods=found)


HEAD = MODEL | {"ray.io/node-type": "head"}
WORKER = MODEL | {"ray.io/node-type": "worker"}


def test_a_service_that_selects_workers_is_named():
    (finding,) = services_of_workers(snapshot(MODEL, HEAD, WORKER))
    assert finding.code == "ServiceSelectsWorkers"
    assert finding.about == Ref("Service", "default", "qwen")
    assert "1 of 2 pods" in finding.message
    assert "ray.io/node-type: 'head'" in finding.fix


@pytest.mark.parametrize(
    ("selector", "pods"),
    [
        (HEAD, [HEAD, WORKER]),
        (MODEL, [HEAD]),
        (MODEL, [MODEL]),
        ({}, [WORKER]),
        ({"other": "x"}, [WORKER]),
    ],
)
def test_others_are_not(selector: dict[str, str], pods: list[dict[str, str]]):
    assert list(services_of_workers(snapshot(selector, *pods))) == []


def test_workers_of_leader_worker_sets():
    key = "leaderworkerset.sigs.k8s.io/worker-index"
    (finding,) = services_of_workers(snapshot(MODEL, MODEL | {key: "0"}, MODEL | {key: "1"}))
    assert key in finding.fix
