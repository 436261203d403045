"""What is known of the cluster: references, workloads as far as they matter to routes, and the snapshot of it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_plugin.controller.kinds import BY_NAME, ObjectKind

Raw = Mapping[str, Any]
"""An object as the API writes it. Never changed in place."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def path(self) -> str:
        """Its path in the API."""
        return BY_NAME[self.kind].path(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Template:
    """The pods of a workload, or of one role of it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    port_names: tuple[tuple[str, int], ...] = ()
    ranks: int = 1
    """Data parallel ranks: a pod listens on this many ports, from its port up."""


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that makes pods of a model, or a LoRA adapter, which is served by the pods of its base."""

    ref: Ref
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    templates: tuple[Template, ...] = ()
    match_labels: Mapping[str, str] = field(default_factory=dict)
    base_model: str = ""
    uid: str = ""

    @property
    def is_adapter(self) -> bool:
        """Whether this is a LoRA adapter."""
        return self.ref.kind == "ModelAdapter"


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The cluster at one moment."""

    workloads: Mapping[Ref, Workload] = field(default_factory=dict)
    services: Mapping[Ref, Raw] = field(default_factory=dict)
    grants: Mapping[Ref, Raw] = field(default_factory=dict)
    routes: Mapping[Ref, Raw] = field(default_factory=dict)
    gateways: Mapping[Ref, Raw] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    """Kinds that may not be listed: workloads may be hidden, so nothing is deleted."""
    missing: frozenset[str] = frozenset()
    """Kinds that the cluster does not have."""
    pods: tuple[Raw, ...] | None = None
    """Pods that carry the model label; None where nobody looked."""
    policies: tuple[Raw, ...] | None = None
    """Policies of Envoy Gateway that tie it to the plugin; None where nobody looked, or there are no such kinds."""
    classes: tuple[Raw, ...] | None = None
    """GatewayClasses; None where nobody looked or may look."""
    own: tuple[Raw, ...] | None = None
    """The gateway's own Deployments, StatefulSets and pods, with their kinds; None where nobody looked or may look."""

    def uid(self, ref: Ref) -> str:
        """The identity of an object; empty when it is not known."""
        if ref in self.workloads:
            return self.workloads[ref].uid
        for objects in (self.services, self.grants, self.routes, self.gateways):
            if ref in objects:
                return str((objects[ref].get("metadata") or {}).get("uid", ""))
        return ""


def ref_of(kind: ObjectKind, raw: Raw) -> Ref:
    """The name of an object from the API."""
    metadata = raw.get("metadata") or {}
    return Ref(kind.name, str(metadata.get("namespace", "")), str(metadata.get("name", "")))


def texts(raw: Raw, *path: str) -> dict[str, str]:
    """The labels, annotations or selector at a path; what is not text is left out."""
    value: Any = raw
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return {}
    return {str(key): item for key, item in value.items() if isinstance(item, str)}
