"""Checks objects of Kubernetes itself (Deployment, Service, ...) against its published schemas, unknown fields refused.

ServiceMonitor and PodMonitor belong to the Prometheus Operator, whose schemas are not at hand: the few fields that ours
use are described here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema_rs
import kubernetes_validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.manifests.documents import Object

VERSIONS = ("1.33", "1.36")
"""The oldest and the newest Kubernetes that Envoy Gateway 1.9 supports."""


def errors(item: Object) -> Iterator[str]:
    """What an API server would say against the object."""
    if item["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from (error.message for error in _MONITOR.iter_errors(item))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"Kubernetes {version}: {' '.join(str(error).split())[:300]}"


def _closed(required: tuple[str, ...] = (), **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_ENDPOINT = _closed(
    ("port",),
    port={"type": "string"},
    path={"type": "string", "pattern": "^/"},
    interval={"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
)
_ENDPOINTS = {"type": "array", "minItems": 1, "items": _ENDPOINT}
_MONITOR = jsonschema_rs.Draft202012Validator(
    _closed(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"enum": ["ServiceMonitor", "PodMonitor"]},
        metadata={"type": "object"},
        spec=_closed(
            ("selector",),
            selector=_closed(("matchLabels",), matchLabels=_TEXTS),
            endpoints=_ENDPOINTS,
            podMetricsEndpoints=_ENDPOINTS,
        ),
    )
)
