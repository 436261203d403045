"""The objects of a cluster and the rules of writing them; no I/O.

Tests call it directly, as kubelets and controllers would: status is written like anything else, and namespaces come
into being when they are named. The HTTP server passes `strict=True`, the rules for clients.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes import admission
from tests.fake_kubernetes.completing import complete, sign
from tests.fake_kubernetes.errors import ApiError, already_exists, bad_request, conflict, ending, not_found
from tests.fake_kubernetes.history import Change, History
from tests.fake_kubernetes.owners import Owners
from tests.fake_kubernetes.patches import MERGE, patched
from tests.fake_kubernetes.resources import RESOURCES, Resource
from tests.fake_kubernetes.writes import edited, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for what has none) and name."""
Backup = tuple[dict[Resource, dict[Key, Json]], int]
"""Objects, and the version of the newest."""


class Cluster:
    """`admission` holds more checks that a written object must pass; they raise ApiError."""

    def __init__(self, resources: Iterable[Resource] = RESOURCES) -> None:
        self.history = History()
        self.admission: list[Callable[[Resource, Json], None]] = [admission.check]
        self.resources = {resource.plural: resource for resource in resources}
        self._objects: dict[Resource, dict[Key, Json]] = {resource: {} for resource in self.resources.values()}
        self._owners = Owners()
        self.ensure_namespace("default")

    def install(self, resource: Resource) -> None:
        """Makes a kind known, together with the CustomResourceDefinition that says so."""
        self.resources[resource.plural] = resource
        self._objects[resource] = {}
        self.create("customresourcedefinitions", _definition(resource))

    def uninstall(self, plural: str) -> None:
        """Forgets a kind with all its objects; those who watch it hear of that, and then their streams end."""
        resource = self.resources.pop(plural)
        for namespace, name in list(self._objects[resource]):
            self._remove(resource, (namespace, name))
        self.history.retire(resource)
        definitions = self.resources.get("customresourcedefinitions")
        if definitions and ("", resource.name) in self._objects[definitions]:
            self.delete("customresourcedefinitions", resource.name)

    def ensure_namespace(self, name: str) -> None:
        """Creates the namespace unless it exists."""
        if ("", name) not in self._objects[self.resources["namespaces"]]:
            self.create("namespaces", {"metadata": {"name": name}, "status": {"phase": "Active"}})

    def get(self, plural: str, name: str, namespace: str = "default") -> Json:
        """A copy of an object; raises 404."""
        resource = self.resource(plural)
        return deepcopy(self.read(resource, self._key(resource, namespace, name)))

    def names(self, plural: str, namespace: str = "default") -> list[str]:
        """All objects of a kind in a namespace, sorted."""
        resource = self.resource(plural)
        return sorted(name for place, name in self._objects[resource] if place == namespace or not resource.namespaced)

    def resource(self, plural: str) -> Resource:
        """A known kind; raises 404."""
        if plural not in self.resources:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return self.resources[plural]

    def read(self, resource: Resource, key: Key) -> Json:
        """The object itself, which nobody may change."""
        if key not in self._objects[resource]:
            raise not_found(resource.name, key[1])
        return self._objects[resource][key]

    def list(self, resource: Resource, namespace: str = "") -> list[Json]:
        """The objects themselves, in the order of their keys; an empty namespace means all."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def create(
        self, plural: str, body: Json, namespace: str = "", *, strict: bool = False, dry_run: bool = False
    ) -> Json:
        """Adds an object. Its namespace is the argument, else what the body says, else "default"."""
        resource = self.resource(plural)
        body = deepcopy(body)
        metadata = body.setdefault("metadata", {})
        place = self._place(resource, namespace, metadata, strict=strict)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        key = (place, str(metadata.get("name", "")))
        if key in self._objects[resource]:
            raise already_exists(resource.name, key[1])
        if strict and resource.has_status:
            body.pop("status", None)
        body |= {"apiVersion": resource.api_version(), "kind": resource.kind}
        metadata.pop("deletionTimestamp", None)
        metadata.pop("resourceVersion", None)
        metadata |= {"name": key[1], "uid": str(uuid.uuid4()), "creationTimestamp": _now(), "generation": 1}
        complete(resource, body)
        self._admit(resource, body)
        if strict:
            sign(resource, body, "client", _now())
        return body if dry_run else self._store(resource, key, body, "ADDED")

    def update(
        self,
        plural: str,
        body: Json,
        namespace: str = "",
        *,
        subresource: str = "",
        strict: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Replaces an object; with a `resourceVersion` in it only that version."""
        resource = self.resource(plural)
        metadata = body.get("metadata") or {}
        key = self._key(
            resource, namespace or str(metadata.get("namespace") or "default"), str(metadata.get("name", ""))
        )
        old = self.read(resource, key)
        if metadata.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise conflict(resource.name, key[1])
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise conflict(resource.name, key[1])
        new = edited(resource, old, deepcopy(body), subresource if strict else "everything")
        complete(resource, new)
        self._admit(resource, new)
        if dry_run or is_same(old, new):
            return new
        sign(resource, new, "client" if strict else "another", _now())
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self._remove(resource, key)
        return self._store(resource, key, new, "MODIFIED")

    def patch(self, plural: str, name: str, patch: object, namespace: str = "default", **how: Any) -> Json:
        """Changes part of an object: a merge patch, or with `content_type=` a JSON patch."""
        resource = self.resource(plural)
        old = self.read(resource, self._key(resource, namespace, name))
        content_type = how.pop("content_type", MERGE)
        new = patched(deepcopy(old), patch, content_type)
        if new.get("metadata", {}).get("name") != name:
            raise bad_request("the name of the object does not match the name on the URL")
        return self.update(plural, new, namespace if resource.namespaced else "", **how)

    def delete(
        self, plural: str, name: str, namespace: str = "default", *, options: Json | None = None, dry_run: bool = False
    ) -> Json:
        """Removes an object and what it owns; one with finalizers is only marked. `options`: DeleteOptions."""
        resource = self.resource(plural)
        key = self._key(resource, namespace, name)
        old = self.read(resource, key)
        for field, wanted in ((options or {}).get("preconditions") or {}).items():
            if wanted and old["metadata"][field] != wanted:
                raise conflict(resource.name, name)
        if dry_run:
            return old
        if old["metadata"].get("finalizers"):
            return self.start_deletion(plural, name, namespace)
        return self._remove(resource, key, orphan=(options or {}).get("propagationPolicy") == "Orphan")

    def start_deletion(self, plural: str, name: str, namespace: str = "default") -> Json:
        """Marks an object as going: what happens to a pod in its grace period."""
        resource = self.resource(plural)
        key = self._key(resource, namespace, name)
        body = deepcopy(self.read(resource, key))
        if body["metadata"].get("deletionTimestamp"):
            return body
        body["metadata"] |= {"deletionTimestamp": _now(), "generation": body["metadata"]["generation"] + 1}
        return self._store(resource, key, body, "MODIFIED")

    def backup(self) -> Backup:
        """Everything as it is now."""
        return deepcopy(self._objects), self.history.version

    def restore(self, backup: Backup) -> None:
        """As etcd from a backup: objects, and versions, are those of then. Whoever watches must be cut off first."""
        objects, version = deepcopy(backup)
        for resource in self.resources.values():
            self._objects[resource] = objects.get(resource, {})
        self._owners = Owners()
        for resource, kept in self._objects.items():
            for key, body in kept.items():
                self._owners.put((resource, key), body)
        self.history.rewind(version)

    def end_namespace(self, name: str) -> None:
        """Its deletion has begun: nothing new is taken there."""
        self.start_deletion("namespaces", name)

    def forget_history(self) -> None:
        """What happened so far cannot be watched any more, nor can old lists be continued."""
        self.history.forget()

    def _place(self, resource: Resource, namespace: str, metadata: Json, *, strict: bool) -> str:
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return ""
        said = metadata.get("namespace")
        if namespace and said and said != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        place = metadata["namespace"] = namespace or said or "default"
        if not strict:
            self.ensure_namespace(place)
        elif ("", place) not in self._objects[self.resources["namespaces"]]:
            raise not_found("namespaces", place)
        elif self.read(self.resources["namespaces"], ("", place))["metadata"].get("deletionTimestamp"):
            raise ending(resource.name, str(metadata.get("name", "")), str(place))
        return str(place)

    def _key(self, resource: Resource, namespace: str, name: str) -> Key:
        return (namespace if resource.namespaced else "", name)

    def _admit(self, resource: Resource, body: Json) -> None:
        for check in self.admission:
            check(resource, body)

    def _store(self, resource: Resource, key: Key, body: Json, kind: str) -> Json:
        before = self._objects[resource].get(key, {})
        body["metadata"]["resourceVersion"] = str(self.history.next_version())
        self._objects[resource][key] = body
        self._owners.put((resource, key), body)
        self.history.add(resource, Change(self.history.version, kind, body, before))
        return body

    def _remove(self, resource: Resource, key: Key, *, orphan: bool = False) -> Json:
        before = self._objects[resource].pop(key)
        body = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.history.next_version())}}
        self.history.add(resource, Change(self.history.version, "DELETED", body, before))
        orphaned = self._owners.remove((resource, key), before)
        if resource.plural == "namespaces":
            orphaned += [(kind, at) for kind, objects in self._objects.items() for at in objects if at[0] == key[1]]
        for kind, (namespace, name) in [] if orphan else orphaned:
            if (namespace, name) in self._objects[kind]:
                self.delete(kind.plural, name, namespace)
        return body


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _definition(resource: Resource) -> Json:
    versions = [{"name": version, "served": True, "storage": True} for version in resource.versions]
    return {
        "metadata": {"name": resource.name},
        "spec": {
            "group": resource.group,
            "names": {"plural": resource.plural, "kind": resource.kind, "singular": resource.kind.lower()},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": versions,
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
