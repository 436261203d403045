"""Which clusters come, drain and go; and what a RayCluster says of itself."""

from __future__ import annotations

from dataclasses import replace

from orchestration.fleets.ray_clusters import (
    BROKEN_SECONDS,
    DRAIN_SECONDS,
    TOLD_SECONDS,
    ClusterChanges,
    RayClusterFacts,
    changes,
    cluster_facts,
)

NOW = 10_000.0


def ready(name: str, **more) -> RayClusterFacts:
    return RayClusterFacts(name, 0.0, True, 0.0, **more)


def broken(name: str, seconds: float = BROKEN_SECONDS) -> RayClusterFacts:
    return RayClusterFacts(name, 0.0, False, None, NOW - seconds)


def test_missing_ones_are_made():
    assert changes(2, [], NOW) == ClusterChanges(2)
    assert changes(2, [ready("a"), ready("b")], NOW) == ClusterChanges()
    assert changes(2, [ready("a", deleting=True), ready("b")], NOW) == ClusterChanges(1)
    assert changes(100, [], NOW).create == 8


def test_the_least_useful_drain_first():
    waiting = RayClusterFacts("w", 0.0, False)
    cheap = ready("cheap", deletion_cost=-5)
    assert changes(2, [ready("a"), cheap, waiting, ready("b")], NOW).drain == ("w", "cheap")
    assert changes(1, [ready("b"), ready("a")], NOW).drain == ("a",)


def test_a_draining_one_goes_when_it_is_idle_or_has_waited_long_enough():
    def goes(**more) -> bool:
        return changes(0, [ready("a", **more)], NOW).delete == ("a",)

    assert not goes(draining_since=NOW - TOLD_SECONDS, in_flight=3.0)
    assert goes(draining_since=NOW - TOLD_SECONDS, in_flight=0.0)
    assert not goes(draining_since=NOW - 1, in_flight=0.0)
    assert not goes(draining_since=NOW - 60, in_flight=None)
    assert goes(draining_since=NOW - DRAIN_SECONDS, in_flight=3.0)
    dead = replace(broken("a"), draining_since=NOW)
    assert changes(0, [dead], NOW).delete == ("a",)


def test_a_broken_one_is_replaced_once_and_one_at_a_time():
    assert changes(2, [broken("a", 30), ready("b")], NOW) == ClusterChanges()
    assert changes(2, [broken("a"), ready("b")], NOW) == ClusterChanges(1, ("a",))
    two = changes(2, [broken("a"), broken("b")], NOW)
    assert two == ClusterChanges(1, ("a",))
    # The look after it: the first drains, its replacement starts, the second one waits.
    going = replace(broken("a"), draining_since=NOW)
    fresh = RayClusterFacts("c", NOW, False)
    assert changes(2, [going, broken("b"), fresh], NOW) == ClusterChanges(0, (), ("a",))
    # One that never came up is not broken: nothing is made for it.
    assert changes(2, [ready("b"), fresh], NOW + 10_000) == ClusterChanges()


def raw(conditions: dict[str, str], **status: object) -> dict[str, object]:
    at = "2026-11-27T10:00:00Z"
    return {
        "metadata": {"name": "c", "creationTimestamp": at, "annotations": {}},
        "status": {
            "conditions": [
                {"type": kind, "status": is_so, "lastTransitionTime": at} for kind, is_so in conditions.items()
            ],
            **status,
        },
    }


def test_ready_is_provisioned_head_and_all_workers():
    up = {"RayClusterProvisioned": "True", "HeadPodReady": "True"}
    assert cluster_facts(raw(up, readyWorkerReplicas=1, desiredWorkerReplicas=1), None).ready
    assert cluster_facts(raw(up), None).ready
    missing = cluster_facts(raw(up, readyWorkerReplicas=0, desiredWorkerReplicas=1), None)
    assert (missing.ready, missing.broken_since is not None) == (False, True)
    headless = cluster_facts(raw({**up, "HeadPodReady": "False"}), None)
    assert (headless.ready, headless.broken_since is not None) == (False, True)
    assert cluster_facts(raw({"HeadPodReady": "True"}), None).broken_since is None
    assert not cluster_facts({"metadata": {"name": "c"}}, None).ready


def test_available_after_a_while():
    one = RayClusterFacts("a", 0.0, True, NOW - 10)
    assert one.is_available(NOW, 10)
    assert not one.is_available(NOW, 11)
    assert not replace(one, draining_since=NOW).is_available(NOW, 0)
