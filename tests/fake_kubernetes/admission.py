"""What every API server refuses: names and label values that break the rules, events of foreign namespaces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_kubernetes.resources import Resource

_SUBDOMAIN = re.compile(r"(?!.{254})[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"(?!.{64})[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(?!.{64})(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def check(resource: Resource, body: Mapping[str, Any]) -> None:
    """Raises 422 for an object that no server would take."""
    metadata = body["metadata"]
    name = metadata["name"]
    rule = _DNS_LABEL if resource.plural == "services" else _SUBDOMAIN
    if not rule.fullmatch(name):
        raise invalid(resource.name, name, f'metadata.name: Invalid value: "{name}"')
    for key, value in (metadata.get("labels") or {}).items():
        if not (isinstance(value, str) and _LABEL_VALUE.fullmatch(value)):
            raise invalid(resource.name, name, f"metadata.labels: Invalid value: {value!r} of {key}")
    for key, value in (metadata.get("annotations") or {}).items():
        if not isinstance(value, str):
            raise invalid(resource.name, name, f"metadata.annotations: Invalid value: {value!r} of {key}")
    if resource.plural == "events":
        _check_event(resource, body)


def _check_event(resource: Resource, body: Mapping[str, Any]) -> None:
    involved = body.get("involvedObject", {}).get("namespace", "") or "default"
    if involved != body["metadata"]["namespace"]:
        raise invalid(
            resource.name, body["metadata"]["name"], "involvedObject.namespace: does not match event.namespace"
        )
