"""Reads everything that matters from the API, by complete lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.kinds import (
    DEPLOYMENT,
    GATEWAY_CLASS,
    POD,
    POLICIES,
    STATEFUL_SET,
    WATCHED,
    ObjectKind,
)
from gateway_plugin.controller.route_client import KubeClient, KubeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.controller.object_store import Store
    from gateway_plugin.controller.workloads import Raw

_FORBIDDEN = 403
_EVERYWHERE = ("",)
OWN_SELECTOR = "app.kubernetes.io/name=gateway-plugin"
"""What the chart and the manifests write on everything of theirs."""


async def survey(client: KubeClient, store: Store, namespaces: Sequence[str], name_key: str) -> None:
    """Brings the store up to date. Raises KubeError when the API does not answer."""
    await survey_objects(client, store, namespaces)
    try:
        store.pods = tuple([pod for one in namespaces or _EVERYWHERE for pod in await client.list(POD, one, name_key)])
    except KubeError as error:
        if error.code != _FORBIDDEN:
            raise
        store.pods = None


async def survey_objects(client: KubeClient, store: Store, namespaces: Sequence[str]) -> None:
    """The same without the pods, of which there are many."""
    for kind in WATCHED:
        for namespace in namespaces or _EVERYWHERE:
            await _read(client, store, kind, namespace)


async def survey_installation(client: KubeClient, store: Store, namespace: str) -> None:
    """Reads the gateway itself: its policies, its class, its own pods. What may not be read stays None."""
    store.policies = await _all(client, POLICIES, namespace)
    store.classes = await _all(client, (GATEWAY_CLASS,), "")
    store.own = await _all(client, (DEPLOYMENT, STATEFUL_SET, POD), namespace, OWN_SELECTOR)


async def _all(
    client: KubeClient, kinds: Sequence[ObjectKind], namespace: str, selector: str = ""
) -> tuple[Raw, ...] | None:
    found: list[Raw] = []
    for kind in kinds:
        try:
            # Items of a list do not say their kind.
            found += [{**raw, "kind": kind.name} for raw in await client.list(kind, namespace, selector)]
        except KubeError as error:
            if error.code != _FORBIDDEN and not error.is_not_found:
                raise
            return None
    return tuple(found)


async def _read(client: KubeClient, store: Store, kind: ObjectKind, namespace: str) -> None:
    with store.listing() as touched:
        try:
            store.replace(kind, await client.list(kind, namespace), touched, namespace)
            store.found(kind, namespace)
        except KubeError as error:
            if error.code == _FORBIDDEN:
                store.hide(kind, namespace)
            elif error.is_not_found:
                store.miss(kind, namespace)
                store.replace(kind, (), touched, namespace)
            else:
                raise
