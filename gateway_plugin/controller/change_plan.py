"""From what should be to what must be done: create, patch or delete, each harmless when done twice.

Only objects with our label are ever deleted, and none at all while a kind of workload cannot be read. A patch carries
the version of the object that it was computed from, so it never undoes a change that was not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import HTTP_ROUTE, REFERENCE_GRANT
from gateway_plugin.controller.model_services import grant_change, grant_release, service_change
from gateway_plugin.controller.object_names import grant_name
from gateway_plugin.controller.ownership import is_ours
from gateway_plugin.controller.routes import model_of, release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway_plugin.controller.desired import Desired
    from gateway_plugin.controller.workloads import ClusterSnapshot, Raw, Ref


@dataclass(frozen=True, slots=True)
class Create:
    """A new object."""

    ref: Ref
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Patch:
    """A JSON merge patch."""

    ref: Ref
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """The end of an object, if it is still the one that was seen."""

    ref: Ref
    uid: str
    resource_version: str


Action = Create | Patch | Delete


def plan(wanted: Desired, observed: ClusterSnapshot, name_key: str) -> tuple[Action, ...]:
    """Actions in an order in which routes never lead to what is not there yet, or no more."""
    actions = [
        *_services(wanted, observed),
        *_grants(wanted, observed),
        *_routes(wanted, observed),
        *_removals(wanted, observed, name_key),
    ]
    # Of a kind that may not be read, nobody knows what is there; one that is not there takes nothing.
    blind = observed.unreadable | observed.missing
    return tuple(action for action in actions if action.ref.kind not in blind)


def is_removal(action: Action, wanted: Desired) -> bool:
    """Whether an action takes something away, and is worth a second look before."""
    return isinstance(action, Delete) or (isinstance(action, Patch) and action.ref not in _wanted_refs(wanted))


def _wanted_refs(wanted: Desired) -> set[Ref]:
    return {*wanted.routes, *wanted.services, *wanted.grants}


def _services(wanted: Desired, observed: ClusterSnapshot) -> Iterator[Action]:
    for ref, body in wanted.services.items():
        existing = observed.services.get(ref)
        if existing is None:
            yield Create(ref, body)
        elif is_ours(existing):
            yield from _patch(ref, existing, service_change(body, existing))


def _grants(wanted: Desired, observed: ClusterSnapshot) -> Iterator[Action]:
    for ref, body in wanted.grants.items():
        existing = observed.grants.get(ref)
        if existing is None:
            yield Create(ref, body)
        else:
            yield from _patch(ref, existing, grant_change(body, existing))


def _routes(wanted: Desired, observed: ClusterSnapshot) -> Iterator[Action]:
    for ref, wish in wanted.routes.items():
        existing = observed.routes.get(ref)
        if existing is None:
            yield Create(ref, wish.new())
        else:
            yield from _patch(ref, existing, wish.change_of(existing))


def _removals(wanted: Desired, observed: ClusterSnapshot, name_key: str) -> Iterator[Action]:
    if observed.unreadable:
        return
    wanted_refs = _wanted_refs(wanted)
    for ref, existing in (*observed.routes.items(), *observed.services.items(), *observed.grants.items()):
        if ref in wanted_refs or not is_ours(existing) or _is_anothers(ref, wanted) or _is_being_deleted(existing):
            continue
        change = _release(ref, existing, wanted, name_key)
        yield from _patch(ref, existing, change) if change is not None else [_delete(ref, existing)]


def _is_anothers(ref: Ref, wanted: Desired) -> bool:
    """Whether another installation in the cluster has made it: it carries the same label, and leads to other routes."""
    if ref.kind == HTTP_ROUTE.name:
        return ref.namespace != wanted.route_namespace
    return ref.kind == REFERENCE_GRANT.name and ref.name != grant_name(wanted.route_namespace, ref.namespace)


def _release(ref: Ref, existing: Raw, wanted: Desired, name_key: str) -> dict[str, Any] | None:
    if ref.kind == HTTP_ROUTE.name:
        return release(existing, model_of(existing, name_key), name_key)
    return grant_release(existing, wanted.route_namespace) if ref.kind == REFERENCE_GRANT.name else None


def _patch(ref: Ref, existing: Raw, change: Mapping[str, Any] | None) -> Iterator[Action]:
    if change is not None and not _is_being_deleted(existing):
        version = (existing.get("metadata") or {}).get("resourceVersion")
        yield Patch(ref, {**change, "metadata": {**change.get("metadata", {}), "resourceVersion": version}})


def _delete(ref: Ref, existing: Raw) -> Delete:
    metadata = existing.get("metadata") or {}
    return Delete(ref, str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))


def _is_being_deleted(existing: Raw) -> bool:
    return bool((existing.get("metadata") or {}).get("deletionTimestamp"))
