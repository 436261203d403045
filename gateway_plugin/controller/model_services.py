"""Services and ReferenceGrants that are made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import HTTP_ROUTE, REFERENCE_GRANT, SERVICE
from gateway_plugin.controller.object_names import grant_name, is_label_value
from gateway_plugin.controller.ownership import MANAGED_BY, MANAGER, covers, metadata
from gateway_plugin.controller.workloads import Raw, Ref

if TYPE_CHECKING:
    from gateway_plugin.controller.backends import ServicePlan


def new_service(plan: ServicePlan, name_key: str) -> dict[str, Any]:
    """An ordinary Service: Envoy Gateway reads its endpoints, and people in the cluster can call it."""
    labels = {name_key: plan.model} if is_label_value(plan.model) else {}
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.name,
        "metadata": metadata(plan.ref.name, plan.ref.namespace, {name_key: plan.model}, labels),
        "spec": {"selector": dict(plan.selector or {}), "ports": _ports(plan)},
    }


def _ports(plan: ServicePlan) -> list[dict[str, Any]]:
    names = ["http"] if len(plan.ports) == 1 else [f"http-{port}" for port in plan.ports]
    return [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
        for name, port in zip(names, plan.ports, strict=True)
    ]


def service_change(wanted: dict[str, Any], existing: Raw) -> dict[str, Any] | None:
    """The merge patch that heals a Service of ours, or None."""
    ports, selector = wanted["spec"]["ports"], wanted["spec"]["selector"]
    present = (existing.get("spec") or {}).get("selector") or {}
    # An item of a list says neither its kind nor its version.
    if covers(existing, {part: wanted[part] for part in ("metadata", "spec")}) and present == selector:
        return None
    # In a merge patch only null removes a label from the selector.
    removed = dict.fromkeys(set(present) - set(selector))
    changed = {key: wanted["metadata"][key] for key in ("labels", "annotations")}
    return {"metadata": changed, "spec": {"selector": {**removed, **selector}, "ports": ports}}


def grant_ref(route_namespace: str, namespace: str) -> Ref:
    """The grant in a namespace of Services."""
    return Ref(REFERENCE_GRANT.name, namespace, grant_name(route_namespace, namespace))


def new_grant(route_namespace: str, namespace: str) -> dict[str, Any]:
    """Lets the HTTPRoutes of one namespace name the Services of another."""
    ref = grant_ref(route_namespace, namespace)
    return {
        "apiVersion": REFERENCE_GRANT.api_version,
        "kind": REFERENCE_GRANT.name,
        "metadata": metadata(ref.name, namespace, {}, {}),
        "spec": {
            "from": [{"group": HTTP_ROUTE.group, "kind": HTTP_ROUTE.name, "namespace": route_namespace}],
            "to": [{"group": SERVICE.group, "kind": SERVICE.name}],
        },
    }


def grant_change(wanted: dict[str, Any], existing: Raw) -> dict[str, Any] | None:
    """The merge patch that adopts and heals a grant: what others let in through it stays."""
    spec = existing.get("spec") or {}
    merged = {
        part: present if any(covers(item, wanted["spec"][part][0]) for item in present) else [*present, *add]
        for part, present, add in ((part, list(spec.get(part) or []), wanted["spec"][part]) for part in ("from", "to"))
    }
    change = {"metadata": {"labels": {MANAGED_BY: MANAGER}}, "spec": merged}
    return None if covers(existing, change) else change


def grant_release(existing: Raw, route_namespace: str) -> dict[str, Any] | None:
    """The merge patch that takes our routes out of a grant that lets others in, too; None: it lets in nobody else."""
    senders = (existing.get("spec") or {}).get("from") or []
    ours = new_grant(route_namespace, "")["spec"]["from"][0]
    others = [sender for sender in senders if not covers(sender, ours)]
    return {"metadata": {"labels": {MANAGED_BY: None}}, "spec": {"from": others}} if others else None
