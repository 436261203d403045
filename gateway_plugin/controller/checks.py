"""What is wrong in a cluster beyond single workloads: pure functions of a snapshot, for controller and `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.conditions import PATIENCE_SECONDS, age_seconds, is_pending, words_of
from gateway_plugin.controller.desired import Desired, RouteRules, desired
from gateway_plugin.controller.findings import Finding, in_order
from gateway_plugin.controller.gateway_classes import about_class, about_listeners
from gateway_plugin.controller.kinds import BY_NAME, GATEWAY, HTTP_ROUTE, REQUIRED, SERVICE
from gateway_plugin.controller.object_names import route_name
from gateway_plugin.controller.own_parts import about_own_parts
from gateway_plugin.controller.policies import about_policies, about_replacing_policies
from gateway_plugin.controller.routes import is_parent, models_of
from gateway_plugin.controller.worker_services import services_of_workers
from gateway_plugin.controller.workloads import ClusterSnapshot, Raw, Ref, ref_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

_CONDITIONS = ("Accepted", "ResolvedRefs")
_ENDED = ("Succeeded", "Failed")


def check(snapshot: ClusterSnapshot, rules: RouteRules, now: datetime) -> tuple[Finding, ...]:
    """Everything that a person should know. What could not be read is not spoken of, except that it could not."""
    wanted = desired(snapshot, rules)
    found = [*_about_workloads(wanted, snapshot), *_similar_models(wanted), *_gateway(snapshot, wanted, rules, now)]
    unknown = snapshot.missing | snapshot.unreadable
    for ref, wish in wanted.routes.items() if HTTP_ROUTE.name not in unknown else ():
        existing = snapshot.routes.get(ref)
        found += _route_state(ref, existing, rules, now) if existing is not None else [_no_route(ref, wish.model)]
    found += about_policies(snapshot, rules.parent, now)
    found += about_replacing_policies(snapshot, rules.parent)
    found += about_own_parts(snapshot, now)
    found += _rival_routes(snapshot, wanted, rules)
    found += _pods(snapshot, wanted, rules)
    found += services_of_workers(snapshot)
    found += [_unreadable(kind, rules) for kind in sorted(snapshot.unreadable)]
    found += [_missing(kind.name, rules) for kind in REQUIRED if kind.name in snapshot.missing]
    return in_order(found)


def _about_workloads(wanted: Desired, snapshot: ClusterSnapshot) -> Iterator[Finding]:
    hidden = {"ServiceMissing"} if SERVICE.name in snapshot.unreadable else set()
    return (finding for finding in wanted.findings if finding.code not in hidden)


def _similar_models(wanted: Desired) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for model in wanted.models:
        alike.setdefault("".join(model.split()).casefold(), []).append(model)
    for models in alike.values():
        for model in models if len(models) > 1 else ():
            others = ", ".join(repr(other) for other in models if other != model)
            message = f"model {model!r} differs only in case or blanks from {others}, and is routed separately"
            fix = "write one name in all workloads of the model"
            yield Finding(wanted.models[model].workloads[0].ref, "SimilarModelNames", message, fix)


def _gateway(snapshot: ClusterSnapshot, wanted: Desired, rules: RouteRules, now: datetime) -> Iterator[Finding]:
    if not wanted.routes or GATEWAY.name in snapshot.missing | snapshot.unreadable:
        return
    parent = rules.parent
    gateway = snapshot.gateways.get(parent.ref)
    if gateway is None:
        message = "it does not exist, so no route is served"
        yield Finding(parent.ref, "GatewayMissing", message, "create it, or correct gateway_name and gateway_namespace")
        return
    yield from about_class(snapshot, gateway, parent.ref, now)
    yield from about_listeners(gateway, parent.ref)
    for condition in (gateway.get("status") or {}).get("conditions") or []:
        if condition.get("type") not in {"Accepted", "Programmed"}:
            continue
        if condition.get("status") == "False":
            fix = "correct what the message names; `kubectl describe gateway` has more"
            yield Finding(parent.ref, "GatewayNotReady", words_of(condition), fix)
        elif is_pending(condition, gateway, now):
            yield Finding(parent.ref, "GatewayNotReady", words_of(condition), _NOBODY_LOOKS)


def _route_state(ref: Ref, route: Raw, rules: RouteRules, now: datetime) -> Iterator[Finding]:
    parents = (route.get("status") or {}).get("parents") or []
    states = [state for state in parents if is_parent(state.get("parentRef") or {}, rules.parent, ref.namespace)]
    if not states and age_seconds(route, now) > PATIENCE_SECONDS:
        message = f"no controller has looked at it for {rules.parent.ref}"
        yield Finding(ref, "RouteIgnored", message, "check the Gateway, its class, and that Envoy Gateway runs")
    for condition in (condition for state in states for condition in state.get("conditions") or []):
        if condition.get("type") in _CONDITIONS and condition.get("status") == "False":
            fix = "correct what the message names; requests for the model fail until then"
            yield Finding(ref, "RouteNotAccepted", words_of(condition), fix)
        elif condition.get("type") in _CONDITIONS and is_pending(condition, route, now):
            yield Finding(ref, "RouteNotAccepted", words_of(condition), _NOBODY_LOOKS)
        elif condition.get("type") == "BackendsAvailable" and condition.get("status") == "False":
            fix = "see why the model's pods are not ready; nothing, if it is scaled to zero on purpose"
            yield Finding(ref, "NoReadyPods", words_of(condition), fix)


def _no_route(ref: Ref, model: str) -> Finding:
    message = f"model {model!r} has no route"
    return Finding(ref, "RouteMissing", message, "check that `gateway-plugin controller` runs, and its log")


def _rival_routes(snapshot: ClusterSnapshot, wanted: Desired, rules: RouteRules) -> Iterator[Finding]:
    for ref, route in snapshot.routes.items():
        parents = (route.get("spec") or {}).get("parentRefs") or []
        if ref in wanted.routes or not any(is_parent(item, rules.parent, ref.namespace) for item in parents):
            continue
        for model in models_of(route):
            if model in wanted.models:
                ours = Ref("HTTPRoute", rules.route_namespace, route_name(model))
                message = f"it matches model {model!r}, as {ours} does; the older of the two wins"
                yield Finding(ref, "RivalRoute", message, "delete one of them")


def _pods(snapshot: ClusterSnapshot, wanted: Desired, rules: RouteRules) -> Iterator[Finding]:
    strangers: dict[tuple[str, str], list[Raw]] = {}
    for pod in snapshot.pods or ():
        # One that ends outlives the workload that made it.
        if (pod.get("metadata") or {}).get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in _ENDED:
            continue
        model = texts(pod, "metadata", "labels").get(rules.keys.name, "").strip()
        if model and model not in wanted.models:
            strangers.setdefault((str((pod.get("metadata") or {}).get("namespace", "")), model), []).append(pod)
    for (_, model), pods in sorted(strangers.items()):
        message = f"{_count(pods)} model {model!r}, but no workload is labelled so, and the model has no route"
        fix = f"add `{rules.keys.name}: {model}` to the metadata of what makes them"
        yield Finding(ref_of(BY_NAME["Pod"], pods[0]), "PodsWithoutWorkload", message, fix)


def _count(pods: list[Raw]) -> str:
    return "it serves" if len(pods) == 1 else f"it and {len(pods) - 1} more pods serve"


def _unreadable(kind: str, rules: RouteRules) -> Finding:
    message = f"{BY_NAME[kind].plural} may not be listed: what they need is not done, and nothing at all is deleted"
    fix = f"grant get, list and watch for {BY_NAME[kind].plural}.{BY_NAME[kind].group}".rstrip(".")
    return Finding(rules.parent.ref, "KindUnreadable", message, fix)


def _missing(kind: str, rules: RouteRules) -> Finding:
    name = f"{BY_NAME[kind].plural}.{BY_NAME[kind].group}".rstrip(".")
    message = f"the cluster has no {name}, so no model can be routed"
    return Finding(rules.parent.ref, "KindMissing", message, "install the CRDs of Envoy Gateway and the Gateway API")


_NOBODY_LOOKS = "check that Envoy Gateway runs, reads this namespace, and is the controller of the GatewayClass"


def by_object(findings: Iterable[Finding]) -> dict[Ref, list[Finding]]:
    """Findings of each object."""
    grouped: dict[Ref, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.about, []).append(finding)
    return grouped
