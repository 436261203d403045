"""What the controller writes is what Gateway API takes: checked against its own schemas, where they lie beside us."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.endpoints.extra_paths import MAX_PATHS, parse_extra_paths
from tests.fake_kubernetes import Cluster
from tests.unit.gateway_plugin.controller.clusters import NAME, ROUTES, RULES, reconcile, workload
from tests.unit.gateway_plugin.controller.gateway_schemas import CRDS, admit

pytestmark = pytest.mark.skipif(not CRDS.is_dir(), reason="the schemas lie beside the checkout, and not here")


@pytest.mark.parametrize("model", ["llama", "Qwen/Qwen3-8B", "a" * 200, "name with blanks", "ünroutable"])
def test_every_object_is_valid(model: str):
    cluster = Cluster()
    cluster.admission.append(admit)
    endpoints = EndpointTable(parse_extra_paths(",".join(f"/{n}" + "x" * 100 for n in range(MAX_PATHS))))
    annotations = {NAME: model}
    for number in range(20):
        place = f"ns-{number}"
        cluster.create(
            "deployments", workload("a", {}, namespace=place, annotations=annotations, pod_annotations=annotations)
        )
    reconcile(cluster, replace(RULES, endpoints=endpoints))
    routes = cluster.names("httproutes", ROUTES)
    assert len(routes) == (model != "ünroutable")


def test_the_check_itself_can_fail():
    cluster = Cluster()
    cluster.admission.append(admit)
    with pytest.raises(AssertionError):
        cluster.create(
            "httproutes", {"metadata": {"name": "a"}, "spec": {"rules": [{"matches": [{"path": {"value": "x"}}]}]}}
        )
