"""What an update may change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import invalid

if TYPE_CHECKING:
    from tests.fake_kubernetes.resources import Resource

Json = dict[str, Any]

_BUILT_IN = ("", "apps", "discovery.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io")
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion")


def edited(resource: Resource, old: Json, new: Json, part: str) -> Json:
    """The object after an update through the subresource `part`: "", "status", or "everything" without rules."""
    if part == "status":
        new = {**old, "metadata": dict(old["metadata"]), "status": new.get("status", {})}
    elif part == "" and resource.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    metadata = new.setdefault("metadata", {})
    for field in _KEPT:
        metadata.pop(field, None)
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
    new |= {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    if _content(new) != _content(old):
        metadata["generation"] = old["metadata"]["generation"] + 1
    return new


def check_versioned(resource: Resource, body: Json) -> None:
    """Whole updates of custom resources must say which version they replace; built-in kinds let it be."""
    metadata = body.get("metadata") or {}
    if resource.group not in _BUILT_IN and not metadata.get("resourceVersion"):
        message = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        raise invalid(resource.name, str(metadata.get("name")), message)


def is_same(old: Json, new: Json) -> bool:
    """Whether a write changes nothing; then there is no new version, and no event."""
    return old == new


def _content(body: Json) -> Json:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}
