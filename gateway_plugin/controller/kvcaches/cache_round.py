"""One look at every KVCache: its objects are made, or changed where what was asked for did, and its status is told.

What depends on a KVCache goes with it: Kubernetes collects it. Of present objects image, size, resources and ports are
changed, of a Service its ports; the rest is left as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.failing_objects import FailingObjects
from gateway_plugin.controller.kinds import BY_NAME, KV_CACHE
from gateway_plugin.controller.ownership import covers
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.status_conditions import StatusCondition, merged
from gateway_plugin.controller.workloads import Ref, ref_of
from orchestration.fleets.fleet_objects import owned_by
from orchestration.kvcache.cache_objects import cache_objects, engine_hints
from orchestration.kvcache.cache_spec import CacheError, CacheSpec, read_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gateway_plugin.controller.workloads import Raw

TICK_SECONDS = 10.0
"""Between two looks: caches change by hand."""


class KvCacheRound:
    """Remembers which objects fail, and nothing else."""

    def __init__(
        self,
        client: KubeClient,
        namespaces: Sequence[str] = (),
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._client, self._namespaces, self._now = client, tuple(namespaces) or ("",), now
        self.failing = FailingObjects("KVCache", clock)

    async def run(self) -> None:
        """Once. KubeError when caches cannot be read."""
        raws = [raw for name in self._namespaces for raw in await self._client.list(KV_CACHE, name)]
        names = {str(ref_of(KV_CACHE, raw)): raw for raw in raws}
        self.failing.keep(names)
        for name, raw in names.items():
            if await self.failing.attempt(name, partial(self._step, raw)):
                self.failing.succeeded(name)

    async def _step(self, raw: Raw) -> bool:
        if (raw.get("metadata") or {}).get("deletionTimestamp"):
            return True
        try:
            spec = read_cache(raw)
        except CacheError as error:
            await self._say(raw, {}, [StatusCondition("Ready", "False", error.reason, str(error))])
            return True
        found = [await self._applied(wanted) for wanted in cache_objects(spec)]
        strangers = [f"{one['kind']} {one['name']}" for one in found if one.get("stranger")]
        ready = next((one["ready"] for one in found if one["kind"] == "Deployment"), 0)
        await self._say(raw, self._figures(spec, ready), self._conditions(spec, ready, strangers))
        return True

    async def _applied(self, wanted: dict[str, Any]) -> dict[str, Any]:
        metadata, kind = wanted["metadata"], BY_NAME[wanted["kind"]]
        ref = Ref(kind.name, metadata["namespace"], metadata["name"])
        told: dict[str, Any] = {"kind": kind.name, "name": metadata["name"], "ready": 0}
        try:
            present = await self._client.get(ref)
        except KubeError as error:
            if not error.is_not_found:
                raise
            await self._client.create(kind, metadata["namespace"], wanted)
            return told
        if not owned_by(present, metadata["ownerReferences"][0]["uid"]):
            return told | {"stranger": True}
        change = _change(kind.name, wanted)
        if not covers(present, change):
            await self._client.patch(ref, change)
        return told | {"ready": int((present.get("status") or {}).get("readyReplicas") or 0)}

    def _figures(self, spec: CacheSpec, ready: int) -> dict[str, Any]:
        hints = engine_hints(spec)
        env = [{"name": name, "value": value} for name, value in hints["env"].items()]
        return {"current": ready, "desired": spec.replicas, "engineEnv": env, "engineArgs": hints["args"]}

    def _conditions(self, spec: CacheSpec, ready: int, strangers: Sequence[str]) -> list[StatusCondition]:
        words = f"{ready} of {spec.replicas} are ready"
        state = StatusCondition("Ready", "True" if ready >= spec.replicas else "False", "Replicas", words)
        if strangers:
            state = StatusCondition("Ready", "False", "NameTaken", f"{', '.join(strangers)} belong to somebody else")
        if engine_hints(spec)["support"] == "Legacy":
            why = "only AIBrix's vLLM 0.6.1 uses vineyard; annotation backend: lmcache is for engines of today"
            return [state, StatusCondition("EngineSupport", "False", "Legacy", why)]
        return [state, StatusCondition("EngineSupport", "True", "Supported", "start engines with status.engineArgs")]

    async def _say(self, raw: Raw, figures: Mapping[str, Any], conditions: Sequence[StatusCondition]) -> None:
        present = raw.get("status") or {}
        generation = int((raw.get("metadata") or {}).get("generation") or 0)
        said = merged(present.get("conditions") or (), conditions, generation, self._now())
        wanted = {**present, **figures, "conditions": said}
        if wanted != present:
            await self._client.merge(ref_of(KV_CACHE, raw).path + "/status", {"status": wanted})


def _change(kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    spec = wanted["spec"]
    if kind == "Service":
        return {"spec": {"ports": spec["ports"]}}
    changed: dict[str, Any] = {"replicas": spec["replicas"]}
    if kind == "Deployment":
        changed["template"] = {"spec": {"containers": spec["template"]["spec"]["containers"]}}
    return {"spec": changed}
