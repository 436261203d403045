"""Which Service stands in front of a workload's pods, and through which of its ports.

In this order: the Service that the workload's annotation names; a Service with the model's own name that is labelled
for the model, or selects by that label; one that is made here, whose selector is the model label, so that every pod
that the plugin may choose is an endpoint of the route. What else has the model's name (`kubernetes`) is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.kinds import BY_NAME, MODEL_ADAPTER
from gateway_plugin.controller.object_names import service_name, workload_service_name
from gateway_plugin.controller.ownership import is_ours
from gateway_plugin.controller.workloads import Raw, Ref, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway_plugin.controller.route_keys import RouteKeys
    from gateway_plugin.controller.served import Served


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """A port of a Service."""

    namespace: str
    service: str
    port: int

    @property
    def ref(self) -> Ref:
        """The Service."""
        return Ref("Service", self.namespace, self.service)


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One Service of a model: theirs when `selector` is None, else to be made with that selector."""

    ref: Ref
    model: str
    workloads: tuple[Served, ...]
    selector: Mapping[str, str] | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports on which pods behind it listen."""
        return tuple(sorted({port for served in self.workloads for port in served.ports}))


def services_of(
    model: str, workloads: Sequence[Served], services: Mapping[Ref, Raw], keys: RouteKeys, *, may_make: bool = True
) -> Iterator[ServicePlan]:
    """The Services of a model's workloads, one a namespace as a rule."""
    groups: dict[tuple[str, str], list[Served]] = {}
    for served in workloads:
        groups.setdefault((served.ref.namespace, served.service), []).append(served)
    for (namespace, named), members in sorted(groups.items()):
        ref = Ref("Service", namespace, named or service_name(model))
        existing = services.get(ref)
        is_free = existing is None or is_ours(existing)
        if named or not may_make or (not is_free and existing is not None and is_service_of(model, existing, keys)):
            yield ServicePlan(ref, model, tuple(members))
        else:
            yield from _made(model, ref if is_free else _beside(ref, model), members, keys)


def is_service_of(model: str, service: Raw, keys: RouteKeys) -> bool:
    """Whether a Service says that it is a model's: by label, annotation or selector, or as an adapter's own."""
    places = (("metadata", "labels"), ("metadata", "annotations"), ("spec", "selector"))
    owners = (service.get("metadata") or {}).get("ownerReferences") or []
    is_adapters = any(owner.get("kind") == MODEL_ADAPTER.name and owner.get("name") == model for owner in owners)
    return is_adapters or any(texts(service, *place).get(keys.name, "").strip() == model for place in places)


def _beside(taken: Ref, model: str) -> Ref:
    return Ref(taken.kind, taken.namespace, workload_service_name(model, str(taken)))


def _made(model: str, ref: Ref, members: Sequence[Served], keys: RouteKeys) -> Iterator[ServicePlan]:
    labelled = [served for served in members if served.is_labelled(keys) or not served.workload.templates]
    if labelled:
        selector = {keys.name: model, **_leaders(labelled)}
        yield ServicePlan(ref, model, tuple(labelled), selector)
    for served in members:
        if served in labelled:
            continue
        # The name stands in an annotation, and selectors do not read those.
        template = served.workload.templates[0].labels
        selector = {**(served.workload.match_labels or template), **_leaders([served])}
        name = workload_service_name(model, str(served.ref))
        yield ServicePlan(Ref("Service", ref.namespace, name), model, (served,), selector)


def _leaders(members: Iterable[Served]) -> dict[str, str]:
    """Labels of the pods that answer HTTP, as long as all workloads are of one kind: a selector knows no "or"."""
    kinds = {served.ref.kind for served in members}
    return dict(BY_NAME[kinds.pop()].leader_labels) if len(kinds) == 1 else {}


def backends_of(plan: ServicePlan, existing: Raw | None) -> tuple[list[Backend], list[Finding]]:
    """The ports of a Service that lead to the ports on which the pods listen."""
    if plan.selector is not None:
        return [_backend(plan.ref, port) for port in plan.ports], []
    about = plan.workloads[0].ref
    if existing is None:
        message = f"{plan.ref} does not exist, so requests without a routing strategy fail"
        return [_backend(plan.ref, port) for port in plan.ports], [
            Finding(about, "ServiceMissing", message, "create it, or leave its making to the controller")
        ]
    return _theirs(plan, existing)


def _theirs(plan: ServicePlan, existing: Raw) -> tuple[list[Backend], list[Finding]]:
    ports = [port for port in (existing.get("spec") or {}).get("ports") or [] if isinstance(port.get("port"), int)]
    chosen: dict[int, None] = {}
    findings = []
    for served in plan.workloads:
        leading = [number for wanted in served.ports if (number := _leading_to(ports, wanted, served)) is not None]
        if len(leading) < len(served.ports):
            findings.append(_no_port(plan, served))
        chosen.update(dict.fromkeys(leading))
    if not chosen:
        chosen = dict.fromkeys([port["port"] for port in ports[:1]] or plan.ports)
    return [_backend(plan.ref, port) for port in chosen], findings


def _leading_to(ports: Sequence[Mapping[str, Any]], wanted: int, served: Served) -> int | None:
    for port in ports:
        target = port.get("targetPort", port["port"])
        named = [template.port_names for template in served.workload.templates]
        if target == wanted or any((target, wanted) in names for names in named):
            return int(port["port"])
    return None


def _no_port(plan: ServicePlan, served: Served) -> Finding:
    wanted = ", ".join(map(str, served.ports))
    message = f"{plan.ref} has no port that leads to {wanted}, where the gateway expects the engine"
    fix = f"add a port with targetPort {wanted} to the Service, or correct the port label"
    return Finding(served.ref, "ServicePortMissing", message, fix)


def name_is_taken(plan: ServicePlan, services: Mapping[Ref, Raw]) -> Iterator[Finding]:
    """A Service of the model's name that does not say that it is the model's."""
    taken = Ref(plan.ref.kind, plan.ref.namespace, service_name(plan.model))
    if plan.selector is None or plan.ref != _beside(taken, plan.model) or taken not in services:
        return
    message = f"{taken} is not labelled for model {plan.model!r}, so {plan.ref.name} is made and used instead"
    fix = "label it with the model's name if it is meant, or give the model another name"
    yield Finding(plan.workloads[0].ref, "ServiceNameTaken", message, fix)


def misses_pods(plan: ServicePlan, existing: Raw) -> Iterator[Finding]:
    """Workloads whose pods the selector of their own Service leaves out: Envoy does not know these pods."""
    selector = texts(existing, "spec", "selector")
    if not selector:
        return  # endpoints of a Service without a selector are written by someone else
    for served in plan.workloads:
        templates = served.workload.templates
        if templates and not any(_selects(selector, template.labels, served.ref.kind) for template in templates):
            written = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
            message = f"the selector of {plan.ref} ({written}) matches none of its pods, which get no requests"
            fix = "select by labels that all workloads of the model share"
            yield Finding(served.ref, "ServiceMissesPods", message, fix)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str], kind: str) -> bool:
    # The pods of the other kinds carry labels that only their controllers know.
    known = selector if BY_NAME[kind].group == "apps" else {key: selector[key] for key in selector if key in labels}
    return known.items() <= labels.items()


def _backend(ref: Ref, port: int) -> Backend:
    return Backend(ref.namespace, ref.name, port)
