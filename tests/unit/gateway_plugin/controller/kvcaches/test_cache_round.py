"""What users see of a KVCache: its objects, what changes with it, its status."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway_plugin.controller.kinds import ObjectKind
from gateway_plugin.controller.kvcaches.cache_round import KvCacheRound
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.workloads import Ref

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


class CacheWorld:
    """Objects by kind and name; what is written counts."""

    def __init__(self, **spec: object) -> None:
        metadata = {"name": "kv", "namespace": "default", "uid": "u", "generation": 1, "annotations": {}}
        self.cache: dict[str, Any] = {"metadata": metadata, "spec": spec}
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes = 0
        parts: Any = self
        self.round = KvCacheRound(parts, clock=lambda: 0.0, now=lambda: NOW)

    def condition(self, kind: str) -> tuple[str, str]:
        found = self.cache["status"]["conditions"]
        return next((one["status"], one["reason"]) for one in found if one["type"] == kind)

    async def list(self, kind: ObjectKind, namespace: str) -> Any:
        assert (kind.name, namespace) == ("KVCache", "")
        return [copy.deepcopy(self.cache)]

    async def get(self, ref: Ref) -> Mapping[str, Any]:
        found = self.objects.get((ref.kind, ref.name))
        if found is None:
            raise KubeError(404, "not found")
        return copy.deepcopy(found)

    async def create(self, kind: ObjectKind, namespace: str, body: Mapping[str, Any]) -> None:
        self.writes += 1
        self.objects[kind.name, body["metadata"]["name"]] = copy.deepcopy(dict(body))

    async def patch(self, ref: Ref, body: Mapping[str, Any]) -> None:
        self.writes += 1
        merge(self.objects[ref.kind, ref.name], body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> None:
        self.writes += 1
        assert path == "/apis/orchestration.aibrix.ai/v1alpha1/namespaces/default/kvcaches/kv/status"
        merge(self.cache, body)


def merge(at: dict[str, Any], body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if isinstance(value, Mapping):
            merge(at.setdefault(key, {}), value)
        else:
            at[key] = copy.deepcopy(value)


async def test_objects_are_made_once_and_the_status_follows():
    world = CacheWorld(replicas=2)
    await world.round.run()
    assert len(world.objects) == 5
    assert world.condition("Ready") == ("False", "Replicas")
    assert world.condition("EngineSupport") == ("False", "Legacy")
    writes = world.writes
    await world.round.run()
    assert world.writes == writes
    world.objects["Deployment", "kv"]["status"] = {"readyReplicas": 2}
    await world.round.run()
    assert world.condition("Ready") == ("True", "Replicas")
    assert (world.cache["status"]["current"], world.cache["status"]["desired"]) == (2, 2)


async def test_what_was_changed_is_changed_and_nothing_else():
    world = CacheWorld(replicas=1)
    await world.round.run()
    deployment = world.objects["Deployment", "kv"]
    deployment["spec"]["paused"] = True
    world.cache["spec"] = {"replicas": 3, "cacheSpec": {"image": "c:2"}}
    await world.round.run()
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "c:2"
    assert deployment["spec"]["paused"]


async def test_a_strangers_object_is_left_alone():
    world = CacheWorld(replicas=1)
    world.objects["Deployment", "kv"] = {"metadata": {"name": "kv"}, "spec": {"replicas": 9}}
    await world.round.run()
    assert world.objects["Deployment", "kv"]["spec"] == {"replicas": 9}
    assert world.condition("Ready") == ("False", "NameTaken")


async def test_lmcache_tells_how_engines_are_started():
    world = CacheWorld(replicas=1)
    world.cache["metadata"]["annotations"] = {"kvcache.orchestration.aibrix.ai/backend": "lmcache"}
    await world.round.run()
    assert world.cache["status"]["engineArgs"][0] == "--kv-transfer-config"
    assert world.cache["status"]["engineEnv"][0]["name"] == "LMCACHE_REMOTE_URL"
    assert world.condition("EngineSupport") == ("True", "Supported")


async def test_what_cannot_be_made_is_said():
    world = CacheWorld(mode="distributed")
    await world.round.run()
    assert world.objects == {}
    assert world.condition("Ready") == ("False", "BackendNotSupported")
