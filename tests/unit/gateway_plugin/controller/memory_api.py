"""An API server in memory below the controllers' real client: versions, conflicts, and who wrote what when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kube.api import ApiRefusedError, KubernetesError

LEASES = "/leases"


@dataclass(frozen=True, slots=True)
class Write:
    at_seconds: float
    writer: str
    path: str
    holder: str
    """Of the Lease at that moment."""


@dataclass
class MemoryCluster:
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    lease_path: str = ""
    _version: int = 0

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """As its author does, who is no controller."""
        self._version += 1
        metadata = {**(body.get("metadata") or {}), "resourceVersion": str(self._version)}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]

    def holder(self) -> str:
        lease = self.objects.get(self.lease_path, {})
        return str((lease.get("spec") or {}).get("holderIdentity") or "")

    def noted(self, writer: str, path: str) -> None:
        self.writes.append(Write(asyncio.get_running_loop().time(), writer, path, self.holder()))


class MemoryApi:
    """One controller's connection; `cut` makes every call fail."""

    def __init__(self, cluster: MemoryCluster, writer: str) -> None:
        self.cluster, self.writer, self.cut = cluster, writer, False

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        await self._answering()
        if path.endswith("/scale"):
            return msgspec.json.encode(self._scale(path))
        if path in self.cluster.objects:
            return msgspec.json.encode(self.cluster.objects[path])
        below = [one for name, one in self.cluster.objects.items() if _is_of(name, path)]
        if not below and not path.endswith("s"):
            raise ApiRefusedError(404, "NotFound", path)
        return msgspec.json.encode({"items": below})

    async def create(self, path: str, body: Mapping[str, Any]) -> bytes:
        await self._answering()
        name = f"{path}/{body['metadata']['name']}"
        if name in self.cluster.objects:
            raise ApiRefusedError(409, "AlreadyExists", name)
        self._note(name)
        return msgspec.json.encode(self.cluster.put(name, body))

    async def patch(self, path: str, body: Mapping[str, Any]) -> bytes:
        await self._answering()
        name = path.removesuffix("/scale").removesuffix("/status")
        present = self.cluster.objects.get(name)
        if present is None:
            raise ApiRefusedError(404, "NotFound", path)
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version not in (None, present["metadata"]["resourceVersion"]):
            raise ApiRefusedError(409, "Conflict", path)
        self._note(path)
        return msgspec.json.encode(self.cluster.put(name, _merged(present, body)))

    async def delete(self, path: str, body: Mapping[str, Any]) -> bytes:
        raise AssertionError(f"nothing should be deleted: {path}")

    async def _answering(self) -> None:
        await asyncio.sleep(0.01)
        if self.cut:
            raise KubernetesError("the network is cut")

    def _note(self, path: str) -> None:
        if LEASES not in path:
            self.cluster.noted(self.writer, path)

    def _scale(self, path: str) -> dict[str, Any]:
        workload = self.cluster.objects.get(path.removesuffix("/scale"))
        if workload is None:
            raise ApiRefusedError(404, "NotFound", path)
        return {"spec": {"replicas": workload["spec"]["replicas"]}, "status": {"selector": "app=llama"}}


def _is_of(name: str, path: str) -> bool:
    """Whether an object is in a list, of one namespace or of all."""
    folder, plural = name.rpartition("/")[0], path.rpartition("/")[2]
    root = path.rpartition("/")[0]
    return folder == path or (folder.startswith(root + "/namespaces/") and folder.endswith("/" + plural))


def _merged(present: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(present, dict):
        return patch
    merged = {**present, **{key: _merged(present.get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in merged.items() if value is not None}
