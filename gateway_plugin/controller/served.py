"""A workload as routes see it: which model it serves, on which ports, behind which Service.

Whatever is wrong with one of these becomes a finding; the rest of the workload is still served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.label_reading import rank_count
from gateway_plugin.controller.model_names import models_of_workload
from gateway_plugin.controller.object_names import is_service_name
from gateway_plugin.controller.workloads import Ref, Template, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway_plugin.controller.route_keys import RouteKeys
    from gateway_plugin.endpoints.endpoint_table import EndpointTable

DEFAULT_PORT = 8000
_MAX_PORT = 65535
"""TCP."""


@dataclass(frozen=True, slots=True)
class Served:
    """One workload that serves `model`."""

    workload: Workload
    model: str
    ports: tuple[int, ...]
    service: str

    @property
    def ref(self) -> Ref:
        """The workload."""
        return self.workload.ref

    def is_labelled(self, keys: RouteKeys) -> bool:
        """Whether the model label selects its pods."""
        return any(template.labels.get(keys.name) == self.model for template in self.workload.templates)


def interpret(workload: Workload, keys: RouteKeys, endpoints: EndpointTable) -> tuple[list[Served], list[Finding]]:
    """What a workload serves, and what is wrong with its labels."""
    models, findings = models_of_workload(workload, keys)
    if not models:
        return [], findings
    findings += _about_ports(workload, keys)
    service = workload.annotations.get(keys.service_name, "").strip()
    if service and not is_service_name(service):
        findings.append(_bad_service_name(workload, service, keys))
        service = ""
    findings += _about_paths(workload, keys, endpoints)
    ports = _ports(workload, keys)
    return [Served(workload, model, ports, service) for model in models], findings


def _ports(workload: Workload, keys: RouteKeys) -> tuple[int, ...]:
    own = _port(workload.labels.get(keys.port)) or DEFAULT_PORT
    ports: set[int] = set()
    for template in workload.templates or (Template(),):
        first = _port(template.labels.get(keys.port)) or own
        ports.update(range(first, min(first + _ranks(template, keys), _MAX_PORT + 1)))
    return tuple(sorted(ports))


def _ranks(template: Template, keys: RouteKeys) -> int:
    return rank_count(template.labels.get(keys.ranks, "")) or template.ranks


def _port(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_PORT))):
        return None
    return int(text) if 1 <= int(text) <= _MAX_PORT else None


def _about_paths(workload: Workload, keys: RouteKeys, endpoints: EndpointTable) -> Iterator[Finding]:
    """Paths are the operator's to publish: the plugin asks who sends to them, and counts."""
    written = workload.annotations.get(keys.custom_paths, "")
    paths = [path.strip() for path in written.split(",") if path.strip()]
    missing = [path for path in paths if endpoints.find(path) is None]
    if missing:
        message = f"annotation {keys.custom_paths} has paths that the gateway does not know: {', '.join(missing)[:200]}"
        yield Finding(workload.ref, "UnpublishedPath", message, "add them to extra_paths of plugin and controller")


def _about_ports(workload: Workload, keys: RouteKeys) -> Iterator[Finding]:
    of_pods = {template.labels[keys.port] for template in workload.templates if keys.port in template.labels}
    own_text = workload.labels.get(keys.port)
    for text in sorted(of_pods | ({own_text} if own_text is not None else set())):
        if _port(text) is None:
            where, then = ("of its pods", "which get no requests") if text in of_pods else ("", "which no port can be")
            message = f"label {keys.port} {where} is {text!r}, {then}".replace("  ", " ")
            yield Finding(workload.ref, "BadPort", message, f'write a port from 1 to {_MAX_PORT}, as "8000"')
    own = _port(workload.labels.get(keys.port))
    if own is None or not workload.templates:
        return
    seen = sorted({_seen_port(template.labels, keys) for template in workload.templates} - {own})
    if seen:
        message = f"it is labelled with port {own}, but the gateway reads port {seen[0]} from its pods"
        yield Finding(
            workload.ref, "PodsOnOtherPort", message, f"add `{keys.port}: {own}` to the pod template's labels"
        )


def _seen_port(labels: Mapping[str, str], keys: RouteKeys) -> int:
    return _port(labels.get(keys.port)) or DEFAULT_PORT


def _bad_service_name(workload: Workload, service: str, keys: RouteKeys) -> Finding:
    message = f"annotation {keys.service_name} is {service[:100]!r}, which cannot be the name of a Service"
    return Finding(workload.ref, "BadServiceName", message, "write the name of a Service of the same namespace")
