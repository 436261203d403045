"""The objects that a fleet makes: replica sets of one revision each, and the Ray clusters of a set."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from orchestration.fleets.fleet_spec import FLEET_LABEL, HASH_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.fleets.fleet_spec import FleetSpec

GROUP = "orchestration.aibrix.ai/v1alpha1"
RAY = "ray.io/v1"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
_MODEL_LABELS = ("model.aibrix.ai/name", "model.aibrix.ai/port", "model.aibrix.ai/engine")


def replica_set(spec: FleetSpec, fleet: Mapping[str, Any], replicas: int, revision: int) -> dict[str, Any]:
    """Of the fleet's present template."""
    template = copy.deepcopy(dict(spec.template))
    labels = {**(template.setdefault("metadata", {}).get("labels") or {}), HASH_LABEL: spec.template_hash}
    template["metadata"] = {**template["metadata"], "labels": labels}
    selector = copy.deepcopy(dict((fleet.get("spec") or {}).get("selector") or {}))
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: spec.template_hash}
    return {
        "apiVersion": GROUP,
        "kind": "RayClusterReplicaSet",
        "metadata": {
            "name": f"{spec.name}-{spec.template_hash}",
            "namespace": spec.namespace,
            "labels": labels,
            "annotations": set_annotations(spec, revision),
            "ownerReferences": [_owner(GROUP, "RayClusterFleet", spec.name, spec.uid)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": int(spec.min_ready_seconds),
            "selector": selector,
            "template": template,
        },
    }


def set_annotations(spec: FleetSpec, revision: int) -> dict[str, str]:
    return {REVISION: str(revision), DESIRED: str(spec.replicas), MOST: str(spec.replicas + spec.surge)}


def ray_cluster(owner: Mapping[str, Any], fleet: str) -> dict[str, Any]:
    """One more of a set. Its pods say of which fleet they are, and its head which model, where only the fleet does."""
    metadata, template = owner["metadata"], owner["spec"]["template"]
    own = template.get("metadata") or {}
    spec = copy.deepcopy(dict(template["spec"]))
    labels = dict(own.get("labels") or {})
    model = {key: labels[key] for key in _MODEL_LABELS if key in labels}
    _label(spec["headGroupSpec"], {FLEET_LABEL: fleet}, model)
    for group in spec.get("workerGroupSpecs") or ():
        _label(group, {FLEET_LABEL: fleet}, {})
    return {
        "apiVersion": RAY,
        "kind": "RayCluster",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {**labels, FLEET_LABEL: fleet},
            "annotations": dict(own.get("annotations") or {}),
            "ownerReferences": [_owner(GROUP, "RayClusterReplicaSet", metadata["name"], metadata.get("uid", ""))],
        },
        "spec": spec,
    }


def _label(group: dict[str, Any], ours: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    template = group.setdefault("template", {})
    metadata = dict(template.get("metadata") or {})
    template["metadata"] = {**metadata, "labels": {**defaults, **(metadata.get("labels") or {}), **ours}}


def _owner(version: str, kind: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_by(raw: Mapping[str, Any], uid: str) -> bool:
    """Whether that object is its controller."""
    owners = (raw.get("metadata") or {}).get("ownerReferences") or ()
    return bool(uid) and any(one.get("uid") == uid and one.get("controller") for one in owners)
