"""One Ray cluster as it is, from its object and its head's pod, and which of a set's clusters come and go.

A cluster is ready when KubeRay says that it was provisioned, that its head is ready, and that all workers are. One that
was provisioned and is not ready for a minute is broken: it is replaced, one at a time. One that never came up is left
alone: another of the same template would not come up either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAIN_ANNOTATION = "orchestration.aibrix.ai/draining-since"
COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
BROKEN_SECONDS = 60.0
"""Not ready for so long after it was: KubeRay replaces a worker's pod within seconds, its model may load for longer,
but then its readiness is said by the workers' own probes."""
TOLD_SECONDS = 5.0
"""Between telling the gateway that a cluster goes and believing that nothing new is sent to it."""
DRAIN_SECONDS = 300.0
"""A cluster that is asked to go waits so long for its requests."""
_MOST_NEW = 8
"""Clusters made in one look: each is many pods."""


@dataclass(frozen=True, slots=True)
class RayClusterFacts:
    """Times are seconds of the same clock as `now`."""

    name: str
    created: float
    ready: bool
    ready_since: float | None = None
    broken_since: float | None = None
    """Provisioned, and not ready since then."""
    draining_since: float | None = None
    deleting: bool = False
    deletion_cost: int = 0
    in_flight: float | None = None
    """Requests in the head's engine; None: nobody can say."""

    def is_available(self, now: float, min_ready_seconds: float) -> bool:
        if not self.ready or self.deleting or self.draining_since is not None:
            return False
        return min_ready_seconds <= 0 or (self.ready_since is not None and now - self.ready_since >= min_ready_seconds)

    def is_broken(self, now: float) -> bool:
        return self.broken_since is not None and now - self.broken_since >= BROKEN_SECONDS


@dataclass(frozen=True, slots=True)
class ClusterChanges:
    """What to do now. Those that drain are told of to the gateway first and deleted in a later look."""

    create: int = 0
    drain: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


def changes(wanted: int, clusters: Sequence[RayClusterFacts], now: float) -> ClusterChanges:
    """The next step of one set."""
    living = [one for one in clusters if not one.deleting]
    staying = [one for one in living if one.draining_since is None]
    goes = tuple(one.name for one in living if one.draining_since is not None and _may_go(one, now))
    if len(staying) > wanted:
        order = sorted(staying, key=lambda one: (one.ready, one.deletion_cost, one.created, one.name))
        return ClusterChanges(0, tuple(one.name for one in order[: len(staying) - wanted]), goes)
    # One at a time: where all break at once the template or the cluster is at fault, not a pod.
    mending = any(one.draining_since is not None and one.is_broken(now) for one in living)
    broken = min((one for one in staying if one.is_broken(now)), key=lambda one: one.name, default=None)
    if broken is not None and not mending and len(staying) == wanted:
        return ClusterChanges(1, (broken.name,), goes)
    return ClusterChanges(min(wanted - len(staying), _MOST_NEW), (), goes)


def _may_go(one: RayClusterFacts, now: float) -> bool:
    assert one.draining_since is not None, "asked for those that drain"
    waited = now - one.draining_since
    if not one.ready:
        return True
    return waited >= DRAIN_SECONDS or (waited >= TOLD_SECONDS and one.in_flight == 0)


def cluster_facts(raw: Mapping[str, Any], in_flight: float | None) -> RayClusterFacts:
    """From a RayCluster as the API writes it; `in_flight` is asked of its head."""
    metadata, status = raw.get("metadata") or {}, raw.get("status") or {}
    conditions = {str(one.get("type")): one for one in status.get("conditions") or ()}
    provisioned, head = conditions.get("RayClusterProvisioned", {}), conditions.get("HeadPodReady", {})
    workers = int(status.get("readyWorkerReplicas") or 0) >= int(status.get("desiredWorkerReplicas") or 0)
    up = provisioned.get("status") == "True"
    ready = up and head.get("status") == "True" and workers
    annotations = metadata.get("annotations") or {}
    since = max((seconds_of(one.get("lastTransitionTime")) or 0.0 for one in (provisioned, head)), default=0.0)
    broken = _broken_since(provisioned, head, status, ready=ready)
    return RayClusterFacts(
        str(metadata.get("name", "")),
        seconds_of(metadata.get("creationTimestamp")) or 0.0,
        ready,
        since if ready else None,
        broken,
        seconds_of(annotations.get(DRAIN_ANNOTATION)),
        bool(metadata.get("deletionTimestamp")),
        _cost(annotations.get(COST_ANNOTATION)),
        in_flight,
    )


def _broken_since(
    provisioned: Mapping[str, Any], head: Mapping[str, Any], status: Mapping[str, Any], *, ready: bool
) -> float | None:
    """`RayClusterProvisioned` stays True for ever once all pods ran, so it tells who was up before."""
    if ready or provisioned.get("status") != "True":
        return None
    changed = status.get("lastUpdateTime") if head.get("status") == "True" else head.get("lastTransitionTime")
    return seconds_of(changed) or seconds_of(provisioned.get("lastTransitionTime"))


def _cost(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def seconds_of(value: object) -> float | None:
    """Unix time of a moment as the API writes it; None for anything else."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
