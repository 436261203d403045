"""What a KVCache asks for. AIBrix changed its fields under one version, so both are read, and mixtures of them.

    newer                        older, or as people mix them
    cache.replicas               replicas
    cache.image, .resources      cacheSpec.image, cacheSpec.resources (or cpu and memory there)
    metadata.etcd.runtime.*      metadata.etcd.image, .replicas; etcdReplicas
    annotation .../backend       mode: centralized is vineyard

The first column wins where both are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "kvcache.orchestration.aibrix.ai/"
BACKENDS = ("vineyard", "lmcache")
"""Of which objects are made here."""
_OTHERS = ("infinistore", "hpkv", "mooncake")
_IMAGES = {"vineyard": "aibrix/kvcache:20241120", "lmcache": "lmcache/standalone:latest"}
_ETCD_IMAGE = "quay.io/coreos/etcd:v3.5.21"
_GPU_KEY = "machine.cluster.vke.volcengine.com/gpu-name"


class CacheError(ValueError):
    """It cannot be made. `reason`: a condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CacheSpec:
    name: str
    namespace: str
    uid: str
    backend: str
    replicas: int
    image: str
    pull_policy: str
    resources: Mapping[str, Any]
    env: tuple[Mapping[str, Any], ...]
    etcd_replicas: int
    etcd_image: str
    etcd_storage: str
    """A size such as 10Gi for a volume of each member; empty: none, and what they know is lost with them."""
    port: int
    service_type: str
    gpu: tuple[str, str] | None = None
    """Label of nodes and its value."""
    near: str = ""
    """The model whose pods must be on the same node."""
    apart: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


def read_cache(raw: Mapping[str, Any]) -> CacheSpec:
    """CacheError says what is wrong with it."""
    metadata, spec = _mapping(raw.get("metadata")), _mapping(raw.get("spec"))
    notes = {key.removeprefix(PREFIX): str(text) for key, text in _mapping(metadata.get("annotations")).items()}
    backend = _backend(notes.get("backend", ""), str(spec.get("mode") or ""))
    cache, older = _mapping(spec.get("cache")), _mapping(spec.get("cacheSpec"))
    etcd = _mapping(_mapping(spec.get("metadata")).get("etcd"))
    runtime = _mapping(etcd.get("runtime"))
    etcd_replicas = _count(_first(runtime, etcd, key="replicas", other=spec.get("etcdReplicas")), "etcd's replicas")
    if etcd_replicas % 2 == 0:
        raise CacheError("EvenEtcd", f"etcd's replicas are {etcd_replicas}: an even number bears no more failures")
    service = _mapping(spec.get("service"))
    gpu = notes.get("node-affinity-gpu-type", "")
    return CacheSpec(
        str(metadata.get("name", "")),
        str(metadata.get("namespace", "")),
        str(metadata.get("uid", "")),
        backend,
        _count(_first(cache, spec, key="replicas"), "replicas"),
        str(_first(cache, older, key="image") or _IMAGES[backend]),
        str(_first(cache, older, key="imagePullPolicy") or "IfNotPresent"),
        _resources(cache, older),
        tuple(_first(cache, older, key="env") or ()),
        etcd_replicas,
        str(_first(runtime, etcd, key="image") or _ETCD_IMAGE),
        str(_mapping(etcd.get("storage")).get("size") or ""),
        _port(service, 9600 if backend == "vineyard" else 65432),
        str(service.get("type") or "ClusterIP"),
        (notes.get("node-affinity-key", _GPU_KEY), gpu) if gpu else None,
        notes.get("pod-affinity-workload", ""),
        notes.get("pod-anti-affinity", "false").lower() not in ("false", "0", "no", ""),
    )


def _backend(annotated: str, mode: str) -> str:
    name = annotated or "vineyard"
    if mode == "distributed" and not annotated:
        name = "infinistore"
    if name in BACKENDS:
        return name
    if name in _OTHERS:
        raise CacheError("BackendNotSupported", f"{name} is not made here; {' or '.join(BACKENDS)} is")
    raise CacheError("UnknownBackend", f"the backend {name!r}: one of {', '.join(BACKENDS)} is wanted")


def _resources(cache: Mapping[str, Any], older: Mapping[str, Any]) -> Mapping[str, Any]:
    given = _first(cache, older, key="resources")
    if given:
        return _mapping(given)
    plain = {key: str(older[key]) for key in ("cpu", "memory") if older.get(key)}
    return {"requests": plain, "limits": plain} if plain else {}


def _port(service: Mapping[str, Any], default: int) -> int:
    ports = service.get("ports") or ()
    return int(_mapping(ports[0]).get("port") or default) if ports else int(service.get("port") or default)


def _first(*places: Mapping[str, Any], key: str, other: object = None) -> Any:  # noqa: ANN401 - JSON
    return next((place[key] for place in places if place.get(key) is not None), other)


def _count(value: object, what: str) -> int:
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CacheError("InvalidSpec", f"{what}: {value!r}; a number from 1 is wanted")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
