"""Which objects are ours: a label says so. Which of their fields: those that a plan names, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_plugin.controller.workloads import Raw, texts

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "gateway-plugin"


def is_ours(raw: Raw) -> bool:
    """Whether this controller made or adopted it."""
    return texts(raw, "metadata", "labels").get(MANAGED_BY) == MANAGER


def covers(observed: object, wanted: object) -> bool:
    """Whether all that is wanted is there; what the API server or a person added does not count, except in lists."""
    if isinstance(wanted, Mapping):
        return isinstance(observed, Mapping) and all(covers(observed.get(key), wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(observed, list)
            and len(observed) == len(wanted)
            and all(covers(*pair) for pair in zip(observed, wanted, strict=True))
        )
    return observed == wanted


def metadata(name: str, namespace: str, annotations: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Of an object of ours."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": {MANAGED_BY: MANAGER, **labels},
        "annotations": dict(annotations),
    }
