"""What the controller writes is what Gateway API takes: checked against its own schemas, where they lie beside us."""

from __future__ import annotations

import pytest

from tests.fake_kubernetes import Cluster
from tests.unit.controller.clusters import NAME, ROUTES, reconcile, workload
from tests.unit.controller.gateway_schemas import CRDS, admit

pytestmark = pytest.mark.skipif(not CRDS.is_dir(), reason="the schemas lie beside the checkout, and not here")


@pytest.mark.parametrize("model", ["llama", "Qwen/Qwen3-8B", "a" * 200, "name with blanks", "ünroutable"])
def test_every_object_is_valid(model: str):
    cluster = Cluster()
    cluster.admission.append(admit)
    custom = ", ".join(["/v2/x", "/v2/%41", "/bad//", "/a/../b", "/.", "/#", "/x%2Fy", *(f"/{n}" for n in range(60))])
    annotations = {NAME: model, "model.aibrix.ai/model-router-custom-paths": custom}
    for number in range(20):
        place = f"ns-{number}"
        cluster.create(
            "deployments", workload("a", {}, namespace=place, annotations=annotations, pod_annotations=annotations)
        )
    reconcile(cluster)
    routes = cluster.names("httproutes", ROUTES)
    assert len(routes) == (model != "ünroutable")


def test_the_check_itself_can_fail():
    cluster = Cluster()
    cluster.admission.append(admit)
    with pytest.raises(AssertionError):
        cluster.create(
            "httproutes", {"metadata": {"name": "a"}, "spec": {"rules": [{"matches": [{"path": {"value": "x"}}]}]}}
        )
