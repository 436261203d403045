"""What a real server adds to what it is given: defaults of a few kinds, and who wrote what.

A client that compares its wishes with what it reads must not take any of it for somebody's change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fake_kubernetes.resources import Resource

Json = dict[str, Any]

_GATEWAY_GROUP = "gateway.networking.k8s.io"
_UNDECIDED = {"status": "Unknown", "reason": "Pending", "message": "Waiting for controller"}
_EPOCH = "1970-01-01T00:00:00Z"


def complete(resource: Resource, body: Json) -> None:
    """In place, after every write."""
    defaults = {"services": _service, "httproutes": _route, "gateways": _gateway, "gatewayclasses": _class}
    if resource.plural in defaults:
        defaults[resource.plural](body)


def sign(resource: Resource, body: Json, manager: str, at: str) -> None:
    """Says who wrote; of the same writer there is one entry."""
    metadata = body["metadata"]
    version = resource.api_version()
    entry = {"manager": manager, "operation": "Update", "apiVersion": version, "time": at, "fieldsType": "FieldsV1"}
    others = [item for item in metadata.get("managedFields") or [] if item.get("manager") != manager]
    metadata["managedFields"] = [*others, {**entry, "fieldsV1": {}}]


def _service(body: Json) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("clusterIP", f"10.96.{len(body['metadata']['name']) % 250}.1")
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    body.setdefault("status", {"loadBalancer": {}})


def _route(body: Json) -> None:
    spec = body.setdefault("spec", {})
    for parent in spec.get("parentRefs") or []:
        parent.setdefault("group", _GATEWAY_GROUP)
        parent.setdefault("kind", "Gateway")
    for rule in spec.setdefault("rules", [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]):
        for match in rule.setdefault("matches", [{"path": {"type": "PathPrefix", "value": "/"}}]):
            match.setdefault("path", {"type": "PathPrefix", "value": "/"})
            match["path"].setdefault("type", "PathPrefix")
            for header in match.get("headers") or []:
                header.setdefault("type", "Exact")
        for backend in rule.get("backendRefs") or []:
            backend.setdefault("group", "")
            backend.setdefault("kind", "Service")
            backend.setdefault("weight", 1)


def _gateway(body: Json) -> None:
    for listener in (body.get("spec") or {}).get("listeners") or []:
        listener.setdefault("allowedRoutes", {"namespaces": {"from": "Same"}})
    _undecided(body, "Accepted", "Programmed")


def _class(body: Json) -> None:
    _undecided(body, "Accepted")


def _undecided(body: Json, *kinds: str) -> None:
    """The schemas of these kinds have conditions as defaults."""
    conditions = [{"type": kind, **_UNDECIDED, "lastTransitionTime": _EPOCH} for kind in kinds]
    body.setdefault("status", {}).setdefault("conditions", conditions)
