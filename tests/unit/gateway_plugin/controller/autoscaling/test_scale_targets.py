"""Where a size stands: `/scale` of any kind, or one role of a StormService."""

from __future__ import annotations

import pytest

from gateway_plugin.controller.autoscaling.scale_targets import ScaleTarget, ScaleTargetError

STORM = {
    "metadata": {"resourceVersion": "7"},
    "spec": {
        "template": {"spec": {"roles": [{"name": "prefill", "replicas": 2}, {"name": "decode", "podGroupSize": 2}]}}
    },
}


def target(kind: str, group: str, role: str = "") -> ScaleTarget:
    return ScaleTarget(group, kind, "default", "llama", role)


@pytest.mark.parametrize(
    ("kind", "group", "path", "selector"),
    [
        ("Deployment", "apps/v1", "/apis/apps/v1/namespaces/default/deployments/llama/scale", "app=llama"),
        ("StatefulSet", "apps/v1", "/apis/apps/v1/namespaces/default/statefulsets/llama/scale", "app=llama"),
        (
            "RayClusterFleet",
            "orchestration.aibrix.ai/v1alpha1",
            "/apis/orchestration.aibrix.ai/v1alpha1/namespaces/default/rayclusterfleets/llama/scale",
            "app=llama,ray.io/node-type=head",
        ),
        (
            "LeaderWorkerSet",
            "leaderworkerset.x-k8s.io/v1",
            "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets/llama/scale",
            "app=llama,leaderworkerset.sigs.k8s.io/worker-index=0",
        ),
        ("Anything", "example.org/v1", "/apis/example.org/v1/namespaces/default/anythings/llama/scale", "app=llama"),
    ],
)
def test_each_kind_with_a_scale(kind: str, group: str, path: str, selector: str):
    one = target(kind, group)
    scale = {"spec": {"replicas": 3}, "status": {"selector": "app=llama"}}
    assert (one.path, one.replicas(scale), one.selector(scale)) == (path, 3, selector)
    assert one.resized(scale, 5) == {"spec": {"replicas": 5}}


def test_one_role_of_a_storm_service_is_resized_and_the_others_stay():
    prefill, decode = (
        target("StormService", "orchestration.aibrix.ai/v1alpha1", role) for role in ("prefill", "decode")
    )
    assert prefill.path.endswith("/stormservices/llama")
    assert (prefill.replicas(STORM), decode.replicas(STORM)) == (2, 1)
    patch = prefill.resized(STORM, 4)
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert [role.get("replicas") for role in patch["spec"]["template"]["spec"]["roles"]] == [4, None]
    assert prefill.selector(STORM) == "storm-service-name=llama,role-name=prefill"
    assert decode.selector(STORM).endswith("pod-group-index=0")


def test_a_role_that_is_not_there_is_said():
    with pytest.raises(ScaleTargetError, match="has no role 'draft'"):
        target("StormService", "orchestration.aibrix.ai/v1alpha1", "draft").replicas(STORM)
