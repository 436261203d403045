"""Fleets as users write them."""

from __future__ import annotations

import copy

import pytest

from orchestration.fleets.fleet_objects import ray_cluster, replica_set
from orchestration.fleets.fleet_spec import FLEET_LABEL, FleetError, read_fleet, template_hash
from tests.unit.gateway_plugin.controller.fleets.ray_world import fleet


def test_a_deployments_defaults():
    raw = fleet()
    del raw["spec"]["replicas"]
    spec = read_fleet(raw)
    assert (spec.replicas, spec.surge, spec.unavailable, spec.recreate, spec.history) == (1, 1, 0, False, 10)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "found"),
    [
        (1, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (3, 0, 0, (0, 1)),
        (3, 2, 1, (2, 1)),
    ],
)
def test_shares(replicas: int, surge: object, unavailable: object, found: tuple[int, int]):
    raw = fleet(replicas)
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    raw["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    spec = read_fleet(raw)
    assert (spec.surge, spec.unavailable) == found


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("replicas",), -1, "InvalidSpec"),
        (("strategy",), {"type": "Blue"}, "InvalidStrategy"),
        (("strategy",), {"rollingUpdate": {"maxSurge": "x%"}}, "InvalidStrategy"),
        (("template", "spec", "headGroupSpec"), {}, "InvalidTemplate"),
        (("selector",), {}, "SelectorMismatch"),
        (("selector",), {"matchLabels": {"other": "x"}}, "SelectorMismatch"),
    ],
)
def test_what_cannot_be_followed_has_a_reason(path: tuple[str, ...], value: object, reason: str):
    raw = copy.deepcopy(fleet())
    at = raw["spec"]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(FleetError) as error:
        read_fleet(raw)
    assert error.value.reason == reason


def test_a_hash_is_of_what_a_template_means():
    template = fleet()["spec"]["template"]
    same = copy.deepcopy(template)
    same["metadata"]["labels"]["pod-template-hash"] = "abc"
    same["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["annotations"] = {}
    other = copy.deepcopy(template)
    other["spec"]["rayVersion"] = "3"
    assert template_hash(template) == template_hash(same) != template_hash(other)


def test_objects_say_whose_they_are():
    raw = fleet()
    spec = read_fleet(raw)
    owner = replica_set(spec, raw, 2, 7)
    assert owner["metadata"]["name"] == f"{spec.name}-{spec.template_hash}"
    assert owner["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "7"
    assert owner["spec"]["selector"]["matchLabels"]["pod-template-hash"] == spec.template_hash
    owner["metadata"]["uid"] = "set-uid"
    cluster = ray_cluster(owner, spec.name)
    assert cluster["metadata"]["annotations"] == {"ray.io/overwrite-container-cmd": "true"}
    assert cluster["metadata"]["ownerReferences"][0]["uid"] == "set-uid"
    head = cluster["spec"]["headGroupSpec"]["template"]["metadata"]["labels"]
    worker = cluster["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    assert head[FLEET_LABEL] == worker[FLEET_LABEL] == spec.name
    assert head["model.aibrix.ai/name"] == "qwen-coder"
    assert FLEET_LABEL not in str(raw)
