"""A cluster in memory, and the reconciler's pure half applied to it until nothing is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_plugin.controller.change_plan import Action, Create, Delete, Patch, plan
from gateway_plugin.controller.desired import RouteRules, desired
from gateway_plugin.controller.kinds import BY_NAME, POD, WATCHED
from gateway_plugin.controller.object_store import Store
from gateway_plugin.controller.route_keys import RouteKeys
from gateway_plugin.controller.routes import Parent
from gateway_plugin.controller.workloads import ClusterSnapshot
from tests.fake_kubernetes import Cluster

ROUTES = "gateway-system"
RULES = RouteRules(RouteKeys("model.aibrix.ai/"), ROUTES, Parent(ROUTES, "gateway"))
NAME = "model.aibrix.ai/name"
PORT = "model.aibrix.ai/port"


def snapshot_of(cluster: Cluster, *, pods: bool = False) -> ClusterSnapshot:
    """As the controller would know it."""
    store = Store(RULES.keys.prefix)
    for kind in WATCHED:
        store.replace(kind, cluster.list(cluster.resource(kind.plural)), ())
    if pods:
        store.pods = tuple(cluster.list(cluster.resource(POD.plural)))
    return store.snapshot()


def planned(cluster: Cluster, rules: RouteRules = RULES) -> tuple[Action, ...]:
    """What is to be done now."""
    snapshot = snapshot_of(cluster)
    return plan(desired(snapshot, rules), snapshot, rules.keys.name)


def reconcile(cluster: Cluster, rules: RouteRules = RULES) -> int:
    """Until nothing is left to do; says how many actions that took. Twice the same plan must not be needed."""
    cluster.ensure_namespace(ROUTES)
    first = planned(cluster, rules)
    for action in first:
        apply(cluster, action)
    assert planned(cluster, rules) == ()
    return len(first)


def apply(cluster: Cluster, action: Action) -> None:
    """What the API server would do."""
    kind, ref = BY_NAME[action.ref.kind], action.ref
    match action:
        case Create():
            cluster.create(kind.plural, dict(action.body), ref.namespace, strict=True)
        case Patch():
            cluster.patch(kind.plural, ref.name, action.body, ref.namespace)
        case Delete():
            options = {"preconditions": {"uid": action.uid, "resourceVersion": action.resource_version}}
            cluster.delete(kind.plural, ref.name, ref.namespace, options=options)


def written(cluster: Cluster) -> dict[str, Any]:
    """Everything of ours, without what the server adds."""
    found = {}
    for plural in ("services", "referencegrants", "httproutes"):
        for item in cluster.list(cluster.resource(plural)):
            metadata = {key: item["metadata"][key] for key in ("labels", "annotations") if key in item["metadata"]}
            place = f"{plural} {item['metadata']['namespace']}/{item['metadata']['name']}"
            found[place] = {"metadata": metadata, "spec": item["spec"]}
    return found


def workload(name: str, labels: Mapping[str, str], *, namespace: str = "models", **more: Any) -> dict[str, Any]:
    """A Deployment or StatefulSet. `pods`: labels of its pods, if not the same; `annotations`, `pod_annotations`."""
    pod_labels = {"app": name, **more.get("pods", labels)}
    template = {"metadata": {"labels": pod_labels, "annotations": more.get("pod_annotations", {})}}
    containers = [{"name": "engine", "ports": more.get("ports", []), "env": more.get("env", [])}]
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "annotations": more.get("annotations", {}),
        },
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {**template, "spec": {"containers": containers}},
        },
    }


def adapter(name: str, base: str, *, namespace: str = "models", **labels: str) -> dict[str, Any]:
    """A ModelAdapter."""
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"baseModel": base}}


def service(name: str, selector: Mapping[str, str], *, namespace: str = "models", **port: Any) -> dict[str, Any]:
    """A person's own Service. `labels`: its own."""
    labels = port.pop("labels", {})
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": dict(selector), "ports": [{"port": 8000, **port}]},
    }
