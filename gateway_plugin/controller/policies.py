"""Whether the Gateway asks the plugin, and Envoy heeds its choice: the two policies of Envoy Gateway that do so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.conditions import PATIENCE_SECONDS, age_seconds, is_pending, words_of
from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.kinds import (
    BACKEND_TRAFFIC_POLICY,
    BY_NAME,
    ENVOY_EXTENSION_POLICY,
    GATEWAY,
    HTTP_ROUTE,
)
from gateway_plugin.controller.routes import is_parent
from gateway_plugin.controller.workloads import ClusterSnapshot, Raw, Ref, ref_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gateway_plugin.controller.kinds import ObjectKind
    from gateway_plugin.controller.routes import Parent

_TARGET_HEADER = "target-pod"


def about_policies(snapshot: ClusterSnapshot, parent: Parent, now: datetime) -> Iterator[Finding]:
    """Nothing where nobody looked, or where the Gateway itself is missing."""
    gateway = snapshot.gateways.get(parent.ref)
    if snapshot.policies is None or gateway is None:
        return
    for kind, does_it, message in _NEEDED:
        effective = [policy for policy in _targeting(snapshot.policies, kind, parent, gateway) if does_it(policy)]
        if not effective:
            code = f"{kind.name}Missing"
            yield Finding(parent.ref, code, message, "apply deploy/envoy/gateway, or install the chart")
        for policy in effective:
            yield from _not_accepted(kind, policy, now)


def about_replacing_policies(snapshot: ClusterSnapshot, parent: Parent) -> Iterator[Finding]:
    """Policies on a route of the Gateway. Such a one stands in for the Gateway's, unless it says to be merged."""
    gateways = {ref.name for ref in snapshot.gateways if ref.namespace == parent.namespace}
    for policy in snapshot.policies or () if parent.name in gateways else ():
        spec = policy.get("spec") or {}
        named = [*(spec.get("targetRefs") or []), *([spec["targetRef"]] if spec.get("targetRef") else [])]
        routes = [str(ref.get("name")) for ref in named if ref.get("kind") == HTTP_ROUTE.name]
        if routes and not spec.get("mergeType") and _is_served(routes, policy, snapshot, parent):
            kind = BY_NAME[str(policy["kind"])]
            message = f"it stands in for the Gateway's on route {routes[0]}: {_LOST[kind.name]}"
            yield Finding(
                ref_of(kind, policy), "PolicyReplaced", message, "set mergeType: StrategicMerge, or delete it"
            )


def _is_served(routes: list[str], policy: Raw, snapshot: ClusterSnapshot, parent: Parent) -> bool:
    namespace = str((policy.get("metadata") or {}).get("namespace", ""))
    found = [snapshot.routes.get(Ref(HTTP_ROUTE.name, namespace, name)) for name in routes]
    parents = [item for route in found if route for item in (route.get("spec") or {}).get("parentRefs") or []]
    return any(is_parent(item, parent, namespace) for item in parents)


_LOST = {
    ENVOY_EXTENSION_POLICY.name: "its requests are not shown to the plugin, so nothing is limited or routed",
    BACKEND_TRAFFIC_POLICY.name: "the plugin's choice of pod, retries and ceilings are lost there",
}


def _targeting(policies: tuple[Raw, ...], kind: ObjectKind, parent: Parent, gateway: Raw) -> Iterator[Raw]:
    for policy in policies:
        same_place = (policy.get("metadata") or {}).get("namespace") == parent.namespace
        if policy.get("kind") == kind.name and same_place and _targets(policy.get("spec") or {}, parent, gateway):
            yield policy


def _targets(spec: Mapping[str, Any], parent: Parent, gateway: Raw) -> bool:
    named = [*(spec.get("targetRefs") or []), *([spec["targetRef"]] if spec.get("targetRef") else [])]
    if any(ref.get("kind") == GATEWAY.name and ref.get("name") == parent.name for ref in named):
        return True
    labels = texts(gateway, "metadata", "labels")
    selectors = [item for item in spec.get("targetSelectors") or [] if item.get("kind") == GATEWAY.name]
    return any((item.get("matchLabels") or {}).items() <= labels.items() for item in selectors)


def _asks_a_processor(policy: Raw) -> bool:
    return bool((policy.get("spec") or {}).get("extProc"))


def _heeds_the_choice(policy: Raw) -> bool:
    override = ((policy.get("spec") or {}).get("loadBalancer") or {}).get("endpointOverride") or {}
    sources = override.get("extractFrom") or []
    return any(str(source.get("header", "")).lower() == _TARGET_HEADER for source in sources)


def _not_accepted(kind: ObjectKind, policy: Raw, now: datetime) -> Iterator[Finding]:
    ref = ref_of(kind, policy)
    ancestors = (policy.get("status") or {}).get("ancestors") or []
    for condition in (condition for state in ancestors for condition in state.get("conditions") or []):
        is_refused = condition.get("status") == "False" or is_pending(condition, policy, now)
        if condition.get("type") == "Accepted" and is_refused:
            yield Finding(ref, "PolicyNotAccepted", words_of(condition), _fix(condition))
    if not ancestors and age_seconds(policy, now) > PATIENCE_SECONDS:
        message = "no controller has looked at it, so it does nothing"
        yield Finding(ref, "PolicyIgnored", message, "check that Envoy Gateway runs, and its log")


def _fix(condition: Mapping[str, Any]) -> str:
    message = str(condition.get("message", "")).lower()
    if "lua" in message and ("disabled" in message or "not enabled" in message):
        return "allow Lua in Envoy Gateway's configuration (extensionApis.enableLua: true), or set accounting=ext_proc"
    if "endpoint" in message:
        return "see why no plugin pod is ready: `kubectl get pods`; until one is, Envoy answers 500 or 503"
    return "correct what the message names"


_NEEDED = (
    (
        ENVOY_EXTENSION_POLICY,
        _asks_a_processor,
        "no EnvoyExtensionPolicy with extProc targets it: nothing is limited or routed",
    ),
    (
        BACKEND_TRAFFIC_POLICY,
        _heeds_the_choice,
        f"no BackendTrafficPolicy reads the header {_TARGET_HEADER}: any pod may answer, whichever is chosen",
    ),
)
