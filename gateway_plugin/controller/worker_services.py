"""Services that send requests to pods that do not listen: the workers of a Ray cluster or of a LeaderWorkerSet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.workloads import ClusterSnapshot, Raw, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEADERS = {"ray.io/node-type": "head", "leaderworkerset.sigs.k8s.io/worker-index": "0"}
"""By label: of the pod of a group that answers HTTP."""


def services_of_workers(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    """Those whose selector finds workers that exist. Nothing where nobody looked at pods."""
    for ref, service in snapshot.services.items():
        selector = texts(service, "spec", "selector")
        found = [pod for pod in snapshot.pods or () if selector and _is_selected(pod, ref.namespace, selector)]
        workers = [(pod, key) for pod in found if (key := _worker_by(texts(pod, "metadata", "labels")))]
        if not workers:
            continue
        key = workers[0][1]
        message = f"it selects {len(workers)} of {len(found)} pods that are workers, and they do not answer requests"
        fix = f"add `{key}: '{_LEADERS[key]}'` to its selector"
        yield Finding(ref, "ServiceSelectsWorkers", message, fix)


def _is_selected(pod: Raw, namespace: str, selector: Mapping[str, str]) -> bool:
    metadata = pod.get("metadata") or {}
    labels = texts(pod, "metadata", "labels")
    return metadata.get("namespace") == namespace and all(labels.get(key) == one for key, one in selector.items())


def _worker_by(labels: Mapping[str, str]) -> str:
    """The label that says it; empty for a pod that answers."""
    return next((key for key, leader in _LEADERS.items() if labels.get(key, leader) != leader), "")
