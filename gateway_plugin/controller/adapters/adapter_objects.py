"""The Service and EndpointSlice of an adapter, as AIBrix makes them: headless, without a selector, owned by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.ownership import MANAGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.workloads import Raw

NAME_LABEL = "adapter.model.aibrix.ai/name"
_MODEL_LABEL = "model.aibrix.ai/name"
_MANAGED = "app.kubernetes.io/managed-by"


def adapter_service(adapter: Raw, base: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(adapter, {NAME_LABEL: _name(adapter), _MODEL_LABEL: base} if base else {}),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def adapter_slices(adapter: Raw, addresses: Mapping[str, str], port: int) -> list[dict[str, Any]]:
    """One for each family of addresses that its pods have; `addresses` by pod."""
    found = []
    for family, suffix in (("IPv4", ""), ("IPv6", "-v6")):
        own = {pod: address for pod, address in sorted(addresses.items()) if (":" in address) == (family == "IPv6")}
        if own or family == "IPv4":
            found.append(_slice(adapter, family, suffix, own, port))
    return found


def _slice(adapter: Raw, family: str, suffix: str, addresses: Mapping[str, str], port: int) -> dict[str, Any]:
    metadata = _metadata(adapter, {"kubernetes.io/service-name": _name(adapter)})
    namespace = metadata["namespace"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "name": metadata["name"] + suffix},
        "addressType": family,
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
            }
            for pod, address in addresses.items()
        ],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


def _metadata(adapter: Raw, labels: Mapping[str, str]) -> dict[str, Any]:
    own = adapter["metadata"]
    owner = {
        "apiVersion": "model.aibrix.ai/v1alpha1",
        "kind": "ModelAdapter",
        "name": own["name"],
        "uid": own["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": own["name"],
        "namespace": own["namespace"],
        "labels": {**labels, _MANAGED: MANAGER},
        "ownerReferences": [owner],
    }


def _name(adapter: Raw) -> str:
    return str(adapter["metadata"]["name"])


def same(present: Raw | None, wanted: Raw, parts: Sequence[str]) -> bool:
    """Whether what we would write is there already; the server adds fields of its own."""
    return present is not None and all(_covers(present.get(part), wanted.get(part)) for part in (*parts,))


def _covers(present: object, wanted: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(_covers(present.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        own = present if isinstance(present, list) else []
        return len(own) == len(wanted) and all(map(_covers, own, wanted))
    return present == wanted
