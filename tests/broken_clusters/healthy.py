"""A healthy cluster on the fake API server: the shipped manifests, a model, and what others say of them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.broken_clusters.changes import ROUTES, condition

if TYPE_CHECKING:
    from tests.broken_clusters.changes import Change
    from tests.fake_kubernetes.cluster import Cluster

Json = dict[str, Any]

_GATEWAY = Path(__file__).parents[2] / "deploy/envoy/gateway"
_FILES = ("gateway", "backendtrafficpolicy", "envoyextensionpolicy", "routes", "plugin", "controller", "redis")
_LONG_AGO = "2026-01-01T00:00:00Z"


def install(cluster: Cluster) -> None:
    """As `kubectl apply -k` does, and everything is up."""
    kinds = {resource.kind: resource.plural for resource in cluster.resources.values()}
    files = [*(_GATEWAY / f"{name}.yaml" for name in _FILES), _GATEWAY / "samples/simulator.yaml"]
    for document in (document for path in files for document in yaml.safe_load_all(path.read_text())):
        if document is not None and document["kind"] in kinds and document["kind"] != "Namespace":
            cluster.create(kinds[document["kind"]], _standing(document))


def _standing(document: Json) -> Json:
    """With the status that it has when all is well."""
    body, kind = deepcopy(document), document["kind"]
    if kind in ("Deployment", "StatefulSet"):
        replicas = body["spec"].setdefault("replicas", 2)
        body["status"] = {"replicas": replicas, "readyReplicas": replicas}
    elif kind == "GatewayClass":
        body["status"] = {"conditions": [condition("Accepted", "True", "Accepted", "")]}
    elif kind == "Gateway":
        names = ("Accepted", "Programmed")
        body["status"] = {"conditions": [condition(name, "True", name, "") for name in names]}
    elif kind.endswith("Policy"):
        target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway-plugin"}
        state = {"ancestorRef": target, "conditions": [condition("Accepted", "True", "Accepted", "")]}
        body["status"] = {"ancestors": [state]}
    return body


def apply(cluster: Cluster, change: Change) -> None:
    """Does it."""
    if change.verb == "create":
        cluster.create(change.plural, change.body)
    elif change.verb == "patch":
        cluster.patch(change.plural, change.name, change.body, change.namespace)
    else:
        cluster.delete(change.plural, change.name, change.namespace)


def grow_old(cluster: Cluster, plural: str, name: str, namespace: str = ROUTES) -> None:
    """Makes an object older than anybody would wait for an answer about it."""
    resource = cluster.resource(plural)
    key = (namespace if resource.namespaced else "", name)
    cluster.read(resource, key)["metadata"]["creationTimestamp"] = _LONG_AGO
