"""KVCaches in both generations, and the objects that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.kvcache.cache_objects import cache_objects, engine_hints
from orchestration.kvcache.cache_spec import CacheError, CacheSpec, read_cache

SEED = next(
    one
    for one in yaml.safe_load_all((Path(__file__).parents[3] / "seed/documents.yaml").read_text())
    if one["kind"] == "KVCache"
)


def cache(spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    notes = {f"kvcache.orchestration.aibrix.ai/{key.replace('_', '-')}": one for key, one in annotations.items()}
    return {"metadata": {"name": "kv", "namespace": "default", "uid": "u", "annotations": notes}, "spec": spec}


def objects(spec: CacheSpec) -> dict[str, dict[str, Any]]:
    return {f"{one['kind']} {one['metadata']['name']}": one for one in cache_objects(spec)}


def test_the_seeds_mixture():
    spec = read_cache(SEED)
    assert (spec.backend, spec.replicas, spec.etcd_replicas, spec.port) == ("vineyard", 3, 1, 9600)
    assert (spec.image, spec.etcd_image) == ("aibrix/vineyardd:20241120", "quay.io/coreos/etcd:v3.5.9")
    assert spec.resources["limits"] == {"cpu": "4", "memory": "32Gi"}
    assert (spec.etcd_storage, spec.apart, spec.near) == ("10Gi", False, "deepseek-coder-7b-instruct")
    found = objects(spec)
    assert set(found) == {
        "Service kvcache-cluster-etcd-peers",
        "Service kvcache-cluster-etcd-service",
        "StatefulSet kvcache-cluster-etcd",
        "Deployment kvcache-cluster",
        "Service kvcache-cluster-rpc",
    }
    pod = found["Deployment kvcache-cluster"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "--etcd_endpoint http://kvcache-cluster-etcd-service:2379" in container["command"][-1]
    assert container["readinessProbe"] == {"exec": {"command": ["ls", "/var/run/vineyard.sock"]}}
    assert pod["volumes"][0]["hostPath"]["path"] == "/var/run/vineyard-kubernetes/default/kvcache-cluster"
    assert set(pod["affinity"]) == {"nodeAffinity", "podAffinity"}
    service = found["Service kvcache-cluster-rpc"]["spec"]
    assert service["ports"][0]["port"] == 9600
    assert service["selector"] == found["Deployment kvcache-cluster"]["spec"]["template"]["metadata"]["labels"]


def test_three_etcds_are_one_cluster():
    etcd = objects(read_cache(cache({"etcdReplicas": 3})))["StatefulSet kv-etcd"]["spec"]
    command = " ".join(etcd["template"]["spec"]["containers"][0]["command"])
    assert etcd["replicas"] == 3
    for number in range(3):
        assert f"kv-etcd-{number}=http://kv-etcd-{number}.kv-etcd-peers:2380" in command
    assert "volumeClaimTemplates" not in etcd


def test_both_generations_say_the_same_and_the_newer_wins():
    old = {"replicas": 2, "metadata": {"etcd": {"image": "e:1", "replicas": 3}}, "cacheSpec": {"image": "c:1"}}
    new = {"cache": {"replicas": 2, "image": "c:1"}, "metadata": {"etcd": {"runtime": {"image": "e:1", "replicas": 3}}}}
    assert read_cache(cache(old)) == read_cache(cache(new))
    both = read_cache(cache({"replicas": 5, "cache": {"replicas": 2, "image": "new"}, "cacheSpec": {"image": "old"}}))
    assert (both.replicas, both.image) == (2, "new")
    plain = read_cache(cache({"cacheSpec": {"cpu": "1", "memory": "2Gi"}}))
    assert plain.resources["requests"] == {"cpu": "1", "memory": "2Gi"}


@pytest.mark.parametrize(("text", "apart"), [("true", True), ("false", False), ("", False), ("1", True)])
def test_anti_affinity_is_what_its_text_says(text: str, apart: bool):
    assert read_cache(cache({}, pod_anti_affinity=text)).apart is apart


def test_lmcache_is_for_engines_of_today():
    spec = read_cache(cache({"cache": {"replicas": 1}}, backend="lmcache"))
    assert set(objects(spec)) == {"Deployment kv", "Service kv-rpc"}
    hints = engine_hints(spec)
    assert hints["env"]["LMCACHE_REMOTE_URL"] == "lm://kv-rpc.default.svc:65432"
    assert hints["args"][1] == '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'
    assert engine_hints(read_cache(SEED))["support"] == "Legacy"


@pytest.mark.parametrize(
    ("spec", "backend", "reason"),
    [
        ({}, "hpkv", "BackendNotSupported"),
        ({"mode": "distributed"}, "", "BackendNotSupported"),
        ({}, "memcached", "UnknownBackend"),
        ({"etcdReplicas": 2}, "", "EvenEtcd"),
        ({"replicas": 0}, "", "InvalidSpec"),
    ],
)
def test_what_cannot_be_made_has_a_reason(spec: dict[str, Any], backend: str, reason: str):
    with pytest.raises(CacheError) as error:
        read_cache(cache(spec, **({"backend": backend} if backend else {})))
    assert error.value.reason == reason


def test_all_go_with_the_cache():
    for one in cache_objects(read_cache(cache({"etcdReplicas": 3}))):
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("KVCache", "u", True)
