"""What should be in the cluster, as a function of what is: one route a model, its Services, the grants between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway_plugin.controller.backends import (
    Backend,
    ServicePlan,
    backends_of,
    is_service_of,
    misses_pods,
    name_is_taken,
    services_of,
)
from gateway_plugin.controller.findings import Finding, in_order
from gateway_plugin.controller.model_services import new_grant, new_service
from gateway_plugin.controller.object_names import route_name
from gateway_plugin.controller.routes import MAX_BACKENDS, Parent, RouteWish, may_adopt
from gateway_plugin.controller.served import Served, interpret
from gateway_plugin.controller.workloads import ClusterSnapshot, Ref
from gateway_plugin.endpoints.endpoint_table import EndpointTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway_plugin.controller.route_keys import RouteKeys


@dataclass(frozen=True, slots=True)
class RouteRules:
    """The settings that shape routes."""

    keys: RouteKeys
    route_namespace: str
    parent: Parent
    create_services: bool = True
    timeout_seconds: int = 0
    endpoints: EndpointTable = field(default_factory=EndpointTable)


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model: who serves it, and through what."""

    model: str
    workloads: tuple[Served, ...]
    plans: tuple[ServicePlan, ...]
    backends: tuple[Backend, ...]


@dataclass(slots=True)
class Desired:
    """Objects of ours, by name."""

    route_namespace: str
    models: dict[str, ModelState] = field(default_factory=dict)
    services: dict[Ref, dict[str, object]] = field(default_factory=dict)
    grants: dict[Ref, dict[str, object]] = field(default_factory=dict)
    routes: dict[Ref, RouteWish] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def desired(snapshot: ClusterSnapshot, rules: RouteRules) -> Desired:
    """All of it, with what is wrong in the workloads."""
    wanted = Desired(rules.route_namespace)
    findings: list[Finding] = []
    by_model, adapters = _served(snapshot, rules, findings)
    for model, workloads in sorted(by_model.items()):
        wanted.models[model] = _model_state(model, workloads, snapshot, rules, findings)
    for model, workloads in sorted(adapters.items()):
        if model not in wanted.models:
            wanted.models[model] = _adapter_state(model, workloads, wanted.models, snapshot, rules.keys, findings)
    for state in wanted.models.values():
        _add_objects(wanted, state, snapshot, rules, findings)
    wanted.findings = in_order(findings)
    return wanted


def _served(
    snapshot: ClusterSnapshot, rules: RouteRules, findings: list[Finding]
) -> tuple[dict[str, list[Served]], dict[str, list[Served]]]:
    by_model: dict[str, list[Served]] = {}
    adapters: dict[str, list[Served]] = {}
    for _, workload in sorted(snapshot.workloads.items()):
        models, wrong = interpret(workload, rules.keys, rules.endpoints)
        findings += wrong
        for served in models:
            (adapters if workload.is_adapter else by_model).setdefault(served.model, []).append(served)
    return by_model, adapters


def _model_state(
    model: str, workloads: Sequence[Served], snapshot: ClusterSnapshot, rules: RouteRules, findings: list[Finding]
) -> ModelState:
    plans = []
    backends: dict[Backend, None] = {}
    for plan in services_of(model, workloads, snapshot.services, rules.keys, may_make=rules.create_services):
        existing = snapshot.services.get(plan.ref)
        found, wrong = backends_of(plan, existing)
        findings += wrong
        findings += _mixed_ports(plan)
        findings += name_is_taken(plan, snapshot.services)
        if existing is not None and plan.selector is None:
            findings += misses_pods(plan, existing)
        backends.update(dict.fromkeys(found))
        plans.append(plan)
    return ModelState(model, tuple(workloads), tuple(plans), tuple(backends))


def _mixed_ports(plan: ServicePlan) -> Iterable[Finding]:
    if len({served.ports for served in plan.workloads}) > 1 and plan.selector is not None:
        message = f"workloads of {plan.model!r} listen on different ports ({', '.join(map(str, plan.ports))})"
        fix = "use one port in all of them: requests without a routing strategy meet closed ports, and are retried"
        yield Finding(plan.workloads[0].ref, "MixedPorts", message, fix)


def _adapter_state(
    model: str,
    adapters: Sequence[Served],
    models: Mapping[str, ModelState],
    snapshot: ClusterSnapshot,
    keys: RouteKeys,
    findings: list[Finding],
) -> ModelState:
    """An adapter is served by the pods of its base; AIBrix's own Service of the adapter is the second choice."""
    backends: dict[Backend, None] = {}
    for served in adapters:
        base = models.get(served.workload.base_model)
        own = Ref("Service", served.ref.namespace, served.service or served.ref.name)
        if base is not None and base.backends:
            backends.update(dict.fromkeys(base.backends))
        elif own in snapshot.services and (served.service or is_service_of(model, snapshot.services[own], keys)):
            backends[Backend(own.namespace, own.name, served.ports[0])] = None
        else:
            message = f"no workload serves its base model {served.workload.base_model!r}"
            findings.append(Finding(served.ref, "AdapterWithoutBase", message, "correct spec.baseModel, or start one"))
    return ModelState(model, tuple(adapters), (), tuple(backends))


def _add_objects(
    wanted: Desired, state: ModelState, snapshot: ClusterSnapshot, rules: RouteRules, findings: list[Finding]
) -> None:
    ref = Ref("HTTPRoute", rules.route_namespace, route_name(state.model))
    existing, about = snapshot.routes.get(ref), state.workloads[0].ref
    other = wanted.routes.get(ref)
    if other is not None or (existing is not None and not may_adopt(existing, state.model)):
        message = f"{ref} means something else than model {state.model!r}, which has no route therefore"
        fix = "rename the model" if other is not None else "rename that route"
        findings.append(Finding(about, "RouteNameTaken", message, fix))
        return
    _add_services(wanted, state, snapshot, rules, findings)
    if not state.backends:
        return
    if len(state.backends) > MAX_BACKENDS:
        message = f"model {state.model!r} has {len(state.backends)} ports of Services, and a route takes {MAX_BACKENDS}"
        findings.append(Finding(about, "TooManyBackends", message, "serve it from fewer namespaces, or on fewer ports"))
    paths = tuple(rules.endpoints.patterns())
    wish = RouteWish(ref, state.model, state.backends, paths, rules.parent, rules.timeout_seconds, rules.keys.name)
    wanted.routes[ref] = wish


def _add_services(
    wanted: Desired, state: ModelState, snapshot: ClusterSnapshot, rules: RouteRules, findings: list[Finding]
) -> None:
    for plan in state.plans:
        if plan.selector is not None:
            wanted.services[plan.ref] = new_service(plan, rules.keys.name)
    for namespace in {backend.namespace for backend in state.backends} - {rules.route_namespace}:
        grant = new_grant(rules.route_namespace, namespace)
        wanted.grants[Ref("ReferenceGrant", namespace, str(grant["metadata"]["name"]))] = grant
