"""One look at every fleet and replica set: what is there, the next step of each, and what is said of it.

A step is small and made from what was just read, so a controller that starts anew goes on where another stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gateway_plugin.controller.failing_objects import FailingObjects
from gateway_plugin.controller.fleets.fleet_cluster import DRAINING
from gateway_plugin.controller.kinds import (
    POD,
    RAY_CLUSTER,
    RAY_CLUSTER_FLEET,
    RAY_CLUSTER_REPLICA_SET,
    ObjectKind,
)
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.status_conditions import StatusCondition, api_time, merged
from orchestration.fleets.fleet_objects import REVISION, owned_by, ray_cluster, replica_set, set_annotations
from orchestration.fleets.fleet_spec import FleetError, FleetSpec, meant, read_fleet
from orchestration.fleets.fleet_status import FleetCounts, fleet_conditions, fleet_figures
from orchestration.fleets.ray_clusters import DRAIN_ANNOTATION, RayClusterFacts, changes, cluster_facts, seconds_of
from orchestration.fleets.rollout import Revision, forgotten, sizes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway_plugin.controller.workloads import Raw

TICK_SECONDS = 3.0
"""Between two looks: a cluster takes minutes to start, and a drain ends within a look."""
_CLUSTER_LABEL = "ray.io/cluster"


class FleetApi(Protocol):
    """What of the cluster is read and written."""

    async def fleets(self) -> Sequence[Raw]: ...
    async def sets(self) -> Sequence[Raw]: ...
    async def clusters(self) -> Sequence[Raw] | None: ...
    async def heads(self) -> Sequence[Raw]: ...
    async def in_flight(self, heads: Sequence[Raw]) -> Mapping[str, float | None]: ...
    async def create(self, kind: ObjectKind, body: Mapping[str, Any]) -> None: ...
    async def change(self, kind: ObjectKind, raw: Raw, body: Mapping[str, Any]) -> None: ...
    async def delete(self, kind: ObjectKind, raw: Raw) -> None: ...
    async def write_status(self, kind: ObjectKind, raw: Raw, status: Mapping[str, Any]) -> None: ...
    async def tell(self, kind: ObjectKind, raw: Raw, reason: str, message: str, *, warning: bool = False) -> None: ...


@dataclass(slots=True)
class _Seen:
    """The cluster in one look."""

    sets: Sequence[Raw]
    clusters: Sequence[Raw]
    heads: dict[tuple[str, str], Raw]
    """By namespace and cluster."""
    facts: dict[str, RayClusterFacts] = field(default_factory=dict)
    """By uid of the cluster."""
    failures: dict[str, str] = field(default_factory=dict)
    """By uid of the set, why a cluster could not be made."""

    def of(self, owner: Raw) -> list[Raw]:
        uid = str((owner.get("metadata") or {}).get("uid", ""))
        return [one for one in self.clusters if owned_by(one, uid)]


class FleetRound:
    """Remembers which objects fail, and nothing else: all it needs stands in the objects."""

    def __init__(self, api: FleetApi, *, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self.failing = FailingObjects("fleet", clock)

    async def run(self) -> None:
        """Once. KubeError when fleets cannot be read; then nothing is done."""
        fleets, sets = await self._api.fleets(), await self._api.sets()
        if not fleets and not sets:
            return
        clusters = await self._api.clusters()
        if clusters is None:
            for raw in fleets:
                words = "the cluster has no rayclusters.ray.io; install KubeRay"
                await self._say(RAY_CLUSTER_FLEET, raw, {}, [_not_progressing("KubeRayMissing", words)])
            return
        seen = await self._look(sets, clusters)
        self.failing.keep([_uid(one) for one in (*sets, *fleets)])
        for one in sets:
            await self._attempt(one, partial(self._step_set, one, seen, fleets))
        for raw in fleets:
            await self._attempt(raw, partial(self._step_fleet, raw, seen))

    async def _attempt(self, raw: Raw, step: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> bool:
            await step()
            return True

        if await self.failing.attempt(_uid(raw), whole):
            self.failing.succeeded(_uid(raw))

    async def _look(self, sets: Sequence[Raw], clusters: Sequence[Raw]) -> _Seen:
        heads: dict[tuple[str, str], Raw] = {}
        for pod in await self._api.heads():
            metadata = pod.get("metadata") or {}
            key = str(metadata.get("namespace", "")), str((metadata.get("labels") or {}).get(_CLUSTER_LABEL, ""))
            heads[key] = pod
        seen = _Seen(sets, clusters, heads)
        draining = [one for one in clusters if DRAIN_ANNOTATION in (one["metadata"].get("annotations") or {})]
        asked = [head for one in draining if (head := heads.get(_key(one))) is not None]
        busy = await self._api.in_flight(asked) if asked else {}
        for one in clusters:
            name = str(((heads.get(_key(one)) or {}).get("metadata") or {}).get("name", ""))
            seen.facts[_uid(one)] = cluster_facts(one, busy.get(name))
        return seen

    async def _step_set(self, raw: Raw, seen: _Seen, fleets: Sequence[Raw]) -> None:
        metadata, spec = raw["metadata"], raw.get("spec") or {}
        own = {str(one["metadata"]["name"]): one for one in seen.of(raw)}
        facts = [seen.facts[_uid(one)] for one in own.values()]
        if metadata.get("deletionTimestamp"):
            return
        replicas = spec.get("replicas")
        step = changes(1 if replicas is None else int(replicas), facts, self._now().timestamp())
        for name in step.delete:
            await self._api.delete(RAY_CLUSTER, own[name])
            await self._api.tell(RAY_CLUSTER_REPLICA_SET, raw, "SuccessfulDelete", f"deleted RayCluster {name}")
        for name in step.drain:
            await self._drain(own[name], seen.heads.get(_key(own[name])))
        fleet = next((one["metadata"]["name"] for one in fleets if owned_by(raw, _uid(one))), metadata["name"])
        await self._create(raw, str(fleet), step.create, seen)
        await self._say(RAY_CLUSTER_REPLICA_SET, raw, self._set_figures(raw, facts), [])

    async def _drain(self, cluster: Raw, head: Raw | None) -> None:
        """The gateway is told by the head's pod; when, stands at the cluster."""
        if head is not None:
            await self._api.change(POD, head, {"metadata": {"annotations": {DRAINING: "true"}}})
        body = {"metadata": {"annotations": {DRAIN_ANNOTATION: api_time(self._now())}}}
        await self._api.change(RAY_CLUSTER, cluster, body)

    async def _create(self, raw: Raw, fleet: str, count: int, seen: _Seen) -> None:
        for _ in range(max(0, count)):
            try:
                await self._api.create(RAY_CLUSTER, ray_cluster(raw, fleet))
            except KubeError as error:
                # Refused, as by a quota: the next look tries again, and the fleet says so.
                seen.failures[_uid(raw)] = str(error)
                await self._api.tell(RAY_CLUSTER_REPLICA_SET, raw, "FailedCreate", str(error), warning=True)
                return

    def _set_figures(self, raw: Raw, facts: Sequence[RayClusterFacts]) -> dict[str, Any]:
        now, least = self._now().timestamp(), float((raw.get("spec") or {}).get("minReadySeconds") or 0)
        living = [one for one in facts if not one.deleting]
        return {
            "observedGeneration": int(raw["metadata"].get("generation") or 0),
            "replicas": len(living),
            "fullyLabeledReplicas": len(living),
            "readyReplicas": sum(one.ready for one in living),
            "availableReplicas": sum(one.is_available(now, least) for one in living),
        }

    async def _step_fleet(self, raw: Raw, seen: _Seen) -> None:
        if (raw.get("metadata") or {}).get("deletionTimestamp"):
            return
        try:
            spec = read_fleet(raw)
        except FleetError as error:
            await self._say(RAY_CLUSTER_FLEET, raw, {}, [_not_progressing(error.reason, str(error))])
            return
        sets = [one for one in seen.sets if owned_by(one, spec.uid) and not one["metadata"].get("deletionTimestamp")]
        new = next((one for one in sets if _same(one, spec)), None)
        revisions = {str(one["metadata"]["name"]): self._revision(one, seen, spec) for one in sets}
        newest = revisions.get(str(new["metadata"]["name"])) if new else None
        olds = [one for one in revisions.values() if one is not newest]
        by_name = {str(one["metadata"]["name"]): one for one in sets}
        for name, size in sizes(spec, newest, olds).items():
            await self._resize(raw, spec, by_name.get(name), size, revisions.values())
        if new is not None and newest is not None:
            await self._renumber(spec, new, newest, olds)
        for name in forgotten(olds, spec.history):
            await self._api.delete(RAY_CLUSTER_REPLICA_SET, by_name[name])
        await self._tell_fleet(raw, spec, seen, sets, new)

    async def _resize(
        self, raw: Raw, spec: FleetSpec, present: Raw | None, size: int, revisions: Iterable[Revision]
    ) -> None:
        if present is None:
            number = max((one.number for one in revisions), default=0) + 1
            await self._api.create(RAY_CLUSTER_REPLICA_SET, replica_set(spec, raw, size, number))
            words = f"created replica set {spec.name}-{spec.template_hash} of {size}, revision {number}"
        else:
            await self._api.change(RAY_CLUSTER_REPLICA_SET, present, {"spec": {"replicas": size}})
            before = (present.get("spec") or {}).get("replicas")
            words = f"scaled replica set {present['metadata']['name']} from {before} to {size}"
        await self._api.tell(RAY_CLUSTER_FLEET, raw, "ScalingReplicaSet", words)

    async def _renumber(self, spec: FleetSpec, new: Raw, newest: Revision, olds: Sequence[Revision]) -> None:
        """A template that comes back is the newest revision again."""
        number = max([newest.number, *(old.number + 1 for old in olds)])
        wanted = set_annotations(spec, number)
        present = new["metadata"].get("annotations") or {}
        if any(present.get(key) != value for key, value in wanted.items()):
            await self._api.change(RAY_CLUSTER_REPLICA_SET, new, {"metadata": {"annotations": wanted}})

    def _revision(self, raw: Raw, seen: _Seen, spec: FleetSpec) -> Revision:
        metadata, now = raw["metadata"], self._now().timestamp()
        facts = [seen.facts[_uid(one)] for one in seen.of(raw)]
        number = str((metadata.get("annotations") or {}).get(REVISION, "0"))
        wanted = (raw.get("spec") or {}).get("replicas")
        return Revision(
            str(metadata["name"]),
            int(number) if number.isascii() and number.isdecimal() else 0,
            1 if wanted is None else int(wanted),
            len(facts),
            sum(one.is_available(now, spec.min_ready_seconds) for one in facts),
        )

    async def _tell_fleet(self, raw: Raw, spec: FleetSpec, seen: _Seen, sets: Sequence[Raw], new: Raw | None) -> None:
        now = self._now().timestamp()
        every = [seen.facts[_uid(one)] for item in sets for one in seen.of(item)]
        every = [one for one in every if not one.deleting]
        newest = [seen.facts[_uid(one)] for one in seen.of(new)] if new else []
        newest = [one for one in newest if not one.deleting]
        began = seconds_of((new or raw)["metadata"].get("creationTimestamp")) or now
        counts = FleetCounts(
            len(every),
            len(newest),
            sum(one.ready for one in every),
            sum(one.is_available(now, spec.min_ready_seconds) for one in every),
            sum(one.is_available(now, spec.min_ready_seconds) for one in newest),
            max([began, *(one.created for one in newest)]),
        )
        failure = next((seen.failures[_uid(one)] for one in sets if _uid(one) in seen.failures), "")
        conditions = [
            StatusCondition(one.type, "True" if one.status else "False", one.reason, one.message)
            for one in fleet_conditions(spec, counts, now, failure)
        ]
        figures = fleet_figures(spec, counts, int(raw["metadata"].get("generation") or 0))
        await self._say(RAY_CLUSTER_FLEET, raw, figures, conditions)

    async def _say(
        self, kind: ObjectKind, raw: Raw, figures: Mapping[str, Any], conditions: Sequence[StatusCondition]
    ) -> None:
        present = raw.get("status") or {}
        wanted = {**present, **figures}
        if conditions:
            generation = int(raw["metadata"].get("generation") or 0)
            wanted["conditions"] = merged(present.get("conditions") or (), conditions, generation, self._now())
        if wanted != present:
            await self._api.write_status(kind, raw, wanted)


def _same(one: Raw, spec: FleetSpec) -> bool:
    """By what the template means: another implementation hashes it otherwise."""
    return bool(meant((one.get("spec") or {}).get("template") or {}) == meant(spec.template))


def _not_progressing(reason: str, message: str) -> StatusCondition:
    return StatusCondition("Progressing", "False", reason, message)


def _uid(raw: Raw) -> str:
    return str((raw.get("metadata") or {}).get("uid", ""))


def _key(raw: Raw) -> tuple[str, str]:
    metadata = raw.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
