"""Reads everything that matters from the API, by complete lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.kinds import POD, POLICIES, WATCHED, ObjectKind
from gateway_plugin.controller.route_client import KubeClient, KubeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.controller.object_store import Store
    from gateway_plugin.controller.workloads import Raw

_FORBIDDEN = 403


async def survey(client: KubeClient, store: Store, namespaces: Sequence[str], name_key: str) -> bool:
    """Brings the store up to date; says whether anything changed. Raises KubeError when the API does not answer."""
    changed = False
    unreadable = set()
    for kind in WATCHED:
        with store.listing() as touched:
            listed = await _list(client, kind, namespaces)
            if listed is None:
                unreadable.add(kind.name)
            else:
                changed |= store.replace(kind, listed, touched)
    pods = await _list(client, POD, namespaces, name_key)
    changed |= store.unreadable != unreadable
    store.unreadable, store.pods = frozenset(unreadable), None if pods is None else tuple(pods)
    return changed


async def survey_policies(client: KubeClient, store: Store, namespace: str) -> None:
    """Reads what ties the Gateway to the plugin; nothing where Envoy Gateway is not installed, or may not be read."""
    found: list[Raw] = []
    for kind in POLICIES:
        try:
            # Items of a list do not say their kind.
            found += [{**policy, "kind": kind.name} for policy in await client.list(kind, namespace)]
        except KubeError as error:
            if error.code != _FORBIDDEN and not error.is_not_found:
                raise
            return
    store.policies = tuple(found)


async def _list(
    client: KubeClient, kind: ObjectKind, namespaces: Sequence[str], selector: str = ""
) -> list[Raw] | None:
    """None: it may not be read. A kind that does not exist has no objects."""
    found: list[Raw] = []
    for namespace in namespaces or ("",):
        try:
            found += await client.list(kind, namespace, selector)
        except KubeError as error:
            if error.code == _FORBIDDEN:
                return None
            if not error.is_not_found:
                raise
    return found
