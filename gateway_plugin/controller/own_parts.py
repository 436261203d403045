"""Whether the gateway's own parts run: plugin, controller and Redis, as their Deployments and pods tell; for `doctor`.

What keeps a container from running stands in its pod, word for word as the kubelet says it; what to do follows from the
reason. One pod of several that is not ready yet is everyday; one that cannot start is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.conditions import PATIENCE_SECONDS, age_seconds
from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.kinds import BY_NAME, POD
from gateway_plugin.controller.workloads import ref_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from gateway_plugin.controller.workloads import ClusterSnapshot, Raw

_COMPONENT = "app.kubernetes.io/component"
_MAX_MESSAGE = 300
"""What people read in a line."""

_PARTS = {
    "plugin": ("Plugin", "requests are answered 500"),
    "controller": ("Controller", "new models get no route"),
    "redis": ("Redis", "users cannot be changed, and limits go by what was last known"),
}
"""By component: the part's name in codes, and what its absence means."""

_MENDS = {
    "CreateContainerConfigError": "create the Secret or the key that the message names (docs/kubernetes.md, step 3)",
    "CrashLoopBackOff": "read why it ends: `kubectl logs --previous`; a setting that is refused is named there",
    "ImagePullBackOff": "put the image where the nodes find it, or correct image.repository and image.tag",
    "ErrImagePull": "put the image where the nodes find it, or correct image.repository and image.tag",
    "ErrImageNeverPull": "load the image into the node, or allow it to be pulled",
    "InvalidImageName": "correct image.repository and image.tag",
    "CreateContainerError": "correct what the message names",
    "RunContainerError": "correct what the message names",
    "Unschedulable": "give it a node (resources, nodeSelector, tolerations) or a volume; see `kubectl describe pod`",
}
"""By the reason of a pod that cannot start: what to do."""


def about_own_parts(snapshot: ClusterSnapshot, now: datetime) -> Iterator[Finding]:
    """Nothing where nobody looked."""
    own = snapshot.own or ()
    pods = [raw for raw in own if raw.get("kind") == POD.name]
    for raw in own:
        component = texts(raw, "metadata", "labels").get(_COMPONENT, "")
        if raw.get("kind") != POD.name and component in _PARTS:
            of_part = [pod for pod in pods if _is_of(raw, pod)]
            yield from _about_part(raw, of_part, *_PARTS[component], now)


def _is_of(workload: Raw, pod: Raw) -> bool:
    selector = texts(workload, "spec", "selector", "matchLabels")
    is_going = (pod.get("metadata") or {}).get("deletionTimestamp")
    return bool(selector) and not is_going and selector.items() <= texts(pod, "metadata", "labels").items()


def _about_part(raw: Raw, pods: Sequence[Raw], part: str, then: str, now: datetime) -> Iterator[Finding]:
    ref = ref_of(BY_NAME[str(raw["kind"])], raw)
    wanted = (raw.get("spec") or {}).get("replicas", 1)
    if wanted == 0:
        fix = f"kubectl scale -n {ref.namespace} {ref.kind.lower()}/{ref.name} --replicas=1"
        yield Finding(ref, f"{part}Stopped", f"it is scaled to 0, so {then}", fix)
        return
    ready = (raw.get("status") or {}).get("readyReplicas") or 0
    hindrance = next(filter(None, map(_hindrance, pods)), None)
    if hindrance is None and (ready or age_seconds(raw, now) <= PATIENCE_SECONDS):
        return
    so = f", so {then}" if not ready else f"; {ready} of {wanted} are ready"
    told, fix = hindrance or _unknown(ref.namespace, pods)
    yield Finding(ref, f"{part}NotReady", f"{told}{so}", fix)


def _unknown(namespace: str, pods: Sequence[Raw]) -> tuple[str, str]:
    if not pods:
        return "it has no pod", f"`kubectl describe replicasets,statefulsets -n {namespace}` says what forbids pods"
    return f"none of its {len(pods)} pods is ready", f"read the pods' log: `kubectl logs -n {namespace}`"


def _hindrance(pod: Raw) -> tuple[str, str] | None:
    """What keeps a pod from ever starting, and the mend."""
    name, status = (pod.get("metadata") or {}).get("name", ""), pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("reason") == "Unschedulable" and condition.get("status") == "False":
            return f"pod {name} has no node: {_words(condition)}", _MENDS["Unschedulable"]
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _MENDS:
            return f"pod {name}: {waiting['reason']}: {_last_words(container, waiting)}", _MENDS[waiting["reason"]]
    return None


def _last_words(container: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    """Of a container that ended: how; that it waits to be started again says nothing."""
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return _words(waiting)
    return f"it ended with exit code {ended.get('exitCode')}, {container.get('restartCount', 0)} times"


def _words(told: Mapping[str, Any]) -> str:
    return str(told.get("message", "no message"))[:_MAX_MESSAGE].rstrip(".")
