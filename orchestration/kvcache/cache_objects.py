"""The objects of a KVCache, under AIBrix's names and labels, and what engines must be started with to use it.

vineyard: a Deployment NAME with a socket on the node, a Service NAME-rpc, and an etcd of its own, which is one cluster
of several members (AIBrix makes as many etcds that know nothing of each other). lmcache: a Deployment and a Service.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestration.kvcache.cache_spec import PREFIX

if TYPE_CHECKING:
    from orchestration.kvcache.cache_spec import CacheSpec

GROUP = "orchestration.aibrix.ai/v1alpha1"
_CLIENT, _PEER = 2379, 2380


def cache_objects(spec: CacheSpec) -> list[dict[str, Any]]:
    """In the order in which they are made."""
    found = [*_etcd(spec)] if spec.backend == "vineyard" else []
    return [*found, _cache(spec), _service(spec, f"{spec.name}-rpc", "cache", [("rpc", spec.port)])]


def engine_hints(spec: CacheSpec) -> dict[str, Any]:
    """`env` and `args` of an engine that shall use it; and whether engines of today can."""
    address = f"{spec.name}-rpc.{spec.namespace}.svc:{spec.port}"
    if spec.backend == "lmcache":
        config = {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}
        return {
            "support": "Supported",
            "env": {"LMCACHE_REMOTE_URL": f"lm://{address}", "LMCACHE_REMOTE_SERDE": "naive"},
            "args": ["--kv-transfer-config", json.dumps(config, separators=(",", ":"))],
        }
    env = {
        "VLLM_USE_VINEYARD_CACHE": "1",
        "AIBRIX_LLM_KV_CACHE": "1",
        "AIBRIX_LLM_KV_CACHE_KV_CACHE_NS": "aibrix",
        "AIBRIX_LLM_KV_CACHE_CHUNK_SIZE": "16",
        "AIBRIX_LLM_KV_CACHE_SOCKET": "/var/run/vineyard.sock",
        "AIBRIX_LLM_KV_CACHE_RPC_ENDPOINT": address,
    }
    return {"support": "Legacy", "env": env, "args": []}


def _labels(spec: CacheSpec, role: str) -> dict[str, str]:
    return {f"{PREFIX}name": spec.name, f"{PREFIX}role": role}


def _metadata(spec: CacheSpec, name: str, role: str) -> dict[str, Any]:
    owner = {"apiVersion": GROUP, "kind": "KVCache", "name": spec.name, "uid": spec.uid}
    return {
        "name": name,
        "namespace": spec.namespace,
        "labels": _labels(spec, role),
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }


def _service(
    spec: CacheSpec, name: str, role: str, ports: list[tuple[str, int]], *, headless: bool = False
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "selector": _labels(spec, role),
        "ports": [{"name": label, "port": port, "targetPort": port, "protocol": "TCP"} for label, port in ports],
    }
    if headless:
        found |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    elif role == "cache":
        found["type"] = spec.service_type
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(spec, name, role), "spec": found}


def _etcd(spec: CacheSpec) -> list[dict[str, Any]]:
    name, peers = f"{spec.name}-etcd", f"{spec.name}-etcd-peers"
    members = ",".join(
        f"{name}-{number}=http://{name}-{number}.{peers}:{_PEER}" for number in range(spec.etcd_replicas)
    )
    command = [
        "etcd",
        "--name=$(POD_NAME)",
        f"--listen-peer-urls=http://0.0.0.0:{_PEER}",
        f"--listen-client-urls=http://0.0.0.0:{_CLIENT}",
        f"--advertise-client-urls=http://$(POD_NAME).{peers}:{_CLIENT}",
        f"--initial-advertise-peer-urls=http://$(POD_NAME).{peers}:{_PEER}",
        f"--initial-cluster={members}",
        "--initial-cluster-state=new",
        "--data-dir=/data/etcd",
    ]
    pod = {
        "containers": [
            {
                "name": "etcd",
                "image": spec.etcd_image,
                "command": command,
                "env": [_field("POD_NAME", "metadata.name")],
                "ports": [{"containerPort": _CLIENT}, {"containerPort": _PEER}],
                "readinessProbe": {"tcpSocket": {"port": _CLIENT}, "periodSeconds": 5},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ]
    }
    body: dict[str, Any] = {
        "replicas": spec.etcd_replicas,
        "serviceName": peers,
        "podManagementPolicy": "Parallel",  # members wait for each other
        "selector": {"matchLabels": _labels(spec, "metadata")},
        "template": {"metadata": {"labels": _labels(spec, "metadata")}, "spec": pod},
    }
    if spec.etcd_storage:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": spec.etcd_storage}}}
        body["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    else:
        pod["volumes"] = [{"name": "data", "emptyDir": {}}]
    both = [("client", _CLIENT), ("peer", _PEER)]
    return [
        _service(spec, peers, "metadata", both, headless=True),
        _service(spec, f"{spec.name}-etcd-service", "metadata", [("client", _CLIENT)]),
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": _metadata(spec, name, "metadata"), "spec": body},
    ]


def _cache(spec: CacheSpec) -> dict[str, Any]:
    container = _vineyard(spec) if spec.backend == "vineyard" else _lmcache(spec)
    if spec.resources:
        container["resources"] = dict(spec.resources)
    pod: dict[str, Any] = {
        "containers": [container],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    if spec.backend == "vineyard":
        path = f"/var/run/vineyard-kubernetes/{spec.namespace}/{spec.name}"
        pod["volumes"] = [
            {"name": "kvcache-socket", "hostPath": {"path": path, "type": "DirectoryOrCreate"}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "log", "emptyDir": {}},
        ]
    affinity = _affinity(spec)
    if affinity:
        pod["affinity"] = affinity
    labels = _labels(spec, "cache")
    body = {
        "replicas": spec.replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(spec, spec.name, "cache"),
        "spec": body,
    }


def _vineyard(spec: CacheSpec) -> dict[str, Any]:
    endpoint = f"http://{spec.name}-etcd-service:{_CLIENT}"
    command = f"/usr/local/bin/vineyardd --sync_crds true --socket /var/run/vineyard.sock --etcd_endpoint {endpoint}"
    return {
        "name": "kvcache",
        "image": spec.image,
        "imagePullPolicy": spec.pull_policy,
        "command": ["/bin/bash", "-c", f"{command} --etcd_prefix /vineyard --rpc_socket_port {spec.port}"],
        "env": [
            {"name": "VINEYARDD_UID", "value": spec.uid},
            {"name": "VINEYARDD_NAME", "value": spec.name},
            {"name": "VINEYARDD_NAMESPACE", "value": spec.namespace},
            _field("MY_NODE_NAME", "spec.nodeName"),
            _field("MY_POD_NAME", "metadata.name"),
            _field("MY_POD_NAMESPACE", "metadata.namespace"),
            _field("MY_UID", "metadata.uid"),
            _field("MY_POD_IP", "status.podIP"),
            *spec.env,
        ],
        "ports": [{"name": "rpc", "containerPort": spec.port, "protocol": "TCP"}],
        "readinessProbe": {"exec": {"command": ["ls", "/var/run/vineyard.sock"]}},
        "livenessProbe": {"tcpSocket": {"port": spec.port}, "periodSeconds": 60},
        "volumeMounts": [
            {"name": "kvcache-socket", "mountPath": "/var/run"},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - in a pod
            {"name": "log", "mountPath": "/var/log/vineyard"},
        ],
    }


def _lmcache(spec: CacheSpec) -> dict[str, Any]:
    return {
        "name": "kvcache",
        "image": spec.image,
        "imagePullPolicy": spec.pull_policy,
        "command": ["lmcache_server", "0.0.0.0", str(spec.port)],  # noqa: S104 - in a pod
        "env": list(spec.env),
        "ports": [{"name": "rpc", "containerPort": spec.port, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": spec.port}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": spec.port}, "periodSeconds": 60},
    }


def _affinity(spec: CacheSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spec.gpu:
        expression = {"key": spec.gpu[0], "operator": "In", "values": [spec.gpu[1]]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        found["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    if spec.near:
        near = [{"key": "model.aibrix.ai/name", "operator": "In", "values": [spec.near]}]
        found["podAffinity"] = _same_host({"matchExpressions": near})
    if spec.apart:
        found["podAntiAffinity"] = _same_host({"matchLabels": _labels(spec, "cache")})
    return found


def _same_host(selector: dict[str, Any]) -> dict[str, Any]:
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
