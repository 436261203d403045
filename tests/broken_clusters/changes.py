"""A change of one object, as data, so that a fake and a real cluster can be broken alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

ROUTES = "gateway-plugin-system"
"""Where the gateway is installed."""
MODELS = "default"
"""Where models run."""

_VERSIONS = {
    "deployments": "apps/v1",
    "statefulsets": "apps/v1",
    "services": "v1",
    "pods": "v1",
    "secrets": "v1",
    "gateways": "gateway.networking.k8s.io/v1",
    "gatewayclasses": "gateway.networking.k8s.io/v1",
    "httproutes": "gateway.networking.k8s.io/v1",
    "referencegrants": "gateway.networking.k8s.io/v1beta1",
    "envoyextensionpolicies": "gateway.envoyproxy.io/v1alpha1",
    "backendtrafficpolicies": "gateway.envoyproxy.io/v1alpha1",
    "modeladapters": "model.aibrix.ai/v1alpha1",
}


@dataclass(frozen=True, slots=True)
class Change:
    """`body`: the object to create, or a merge patch. `namespace` is empty for what has none."""

    verb: Literal["create", "patch", "delete"]
    plural: str
    name: str
    namespace: str = ROUTES
    body: Json = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """Of the object."""
        return _VERSIONS[self.plural]


def created(plural: str, name: str, spec: Json, namespace: str = MODELS, **metadata: Any) -> Change:
    """A new object."""
    body = {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}
    return Change("create", plural, name, namespace, body)


def patched(plural: str, name: str, body: Json, namespace: str = ROUTES) -> Change:
    """A merge patch."""
    return Change("patch", plural, name, namespace, body)


def deleted(plural: str, name: str, namespace: str = ROUTES) -> Change:
    """Gone."""
    return Change("delete", plural, name, namespace)


def deployed(name: str, labels: Json, pod_labels: Json, annotations: Json | None = None) -> Change:
    """A Deployment of an engine that never starts anything, in the namespace of models."""
    template = {
        "metadata": {"labels": {"app": name, **pod_labels}, "annotations": {"test/idle": "yes"}},
        "spec": {"containers": [{"name": "engine", "image": "none"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return created("deployments", name, spec, labels=labels, annotations=annotations or {})


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    """As controllers write it."""
    since = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def told_of_policy(plural: str, reason: str, message: str) -> Change:
    """What Envoy Gateway says of a policy that it refuses."""
    ancestor = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway-plugin"}
    state = {
        "ancestorRef": ancestor,
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "conditions": [condition("Accepted", "False", reason, message)],
    }
    return patched(plural, "gateway-plugin", {"status": {"ancestors": [state]}})


def told_of_route(name: str, kind: str, reason: str, message: str) -> Change:
    """What Envoy Gateway says of a route."""
    state = {
        "parentRef": {"name": "gateway-plugin"},
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "conditions": [condition(kind, "False", reason, message)],
    }
    return patched("httproutes", name, {"status": {"parents": [state]}})


def waiting_pod(component: str, reason: str, message: str, ended: Json | None = None) -> Change:
    """A pod of the gateway whose container does not start, as its kubelet tells."""
    labels = {
        "app.kubernetes.io/name": "gateway-plugin",
        "app.kubernetes.io/instance": "gateway-plugin",
        "app.kubernetes.io/component": component,
    }
    container: Json = {"name": component, "ready": False, "restartCount": 4}
    container["state"] = {"waiting": {"reason": reason, "message": message}}
    if ended is not None:
        container["lastState"] = {"terminated": ended}
    status = {"phase": "Pending", "containerStatuses": [container]}
    metadata = {"name": f"{component}-broken", "namespace": ROUTES, "labels": labels}
    return Change("create", "pods", f"{component}-broken", ROUTES, {"metadata": metadata, "status": status})
