"""The cluster as the adapters' controller sees it: `AdapterApi` over the Kubernetes API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.adapters.adapter_objects import adapter_service, adapter_slices, same
from gateway_plugin.controller.kinds import ENDPOINT_SLICE, MODEL_ADAPTER, POD, SERVICE, ObjectKind
from gateway_plugin.controller.ownership import MANAGER
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.workloads import Ref, ref_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.object_events import ObjectEvents
    from gateway_plugin.controller.workloads import Raw

_PARTS = {SERVICE.name: ("spec",), ENDPOINT_SLICE.name: ("endpoints", "ports", "addressType")}


class AdapterObjects:
    """Lists adapters of the named namespaces, or of all; writes only what differs."""

    def __init__(self, client: KubeClient, events: ObjectEvents, namespaces: Sequence[str] = ()) -> None:
        self._client, self._events = client, events
        self._namespaces = tuple(namespaces) or ("",)

    async def adapters(self) -> Sequence[Raw]:
        return [raw for name in self._namespaces for raw in await self._client.list(MODEL_ADAPTER, name)]

    async def pods(self, namespace: str, selector: str) -> Sequence[Raw]:
        return await self._client.list(POD, namespace, selector)

    async def finalizers(self, adapter: Raw, names: Sequence[str]) -> None:
        metadata = adapter["metadata"]
        # With the version that was read: a finalizer that another adds meanwhile must not be lost.
        body = {"metadata": {"finalizers": list(names), "resourceVersion": metadata.get("resourceVersion")}}
        try:
            await self._client.patch(ref_of(MODEL_ADAPTER, adapter), body)
        except KubeError as error:
            if not (error.is_race or error.is_not_found):
                raise

    async def write_status(self, adapter: Raw, status: Mapping[str, Any]) -> None:
        try:
            await self._client.merge(ref_of(MODEL_ADAPTER, adapter).path + "/status", {"status": status})
        except KubeError as error:
            if not error.is_not_found:
                raise

    async def publish(self, adapter: Raw, base: str, port: int, addresses: Mapping[str, str]) -> None:
        await self._apply(SERVICE, adapter_service(adapter, base, port))
        for piece in adapter_slices(adapter, addresses, port):
            await self._apply(ENDPOINT_SLICE, piece)

    async def tell(self, adapter: Raw, reason: str, message: str, *, warning: bool = False) -> None:
        await self._events.tell(adapter, MODEL_ADAPTER, reason, message, warning=warning)

    async def _apply(self, kind: ObjectKind, wanted: dict[str, Any]) -> None:
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        try:
            present = await self._client.get(Ref(kind.name, namespace, name))
        except KubeError as error:
            if not error.is_not_found:
                raise
            await self._client.create(kind, namespace, wanted)
            return
        if same(present, wanted, _PARTS[kind.name]) or not _is_ours(present, wanted):
            return
        parts = {part: wanted[part] for part in _PARTS[kind.name] if part != "addressType"}
        await self._client.patch(Ref(kind.name, namespace, name), parts)


def _is_ours(present: Raw, wanted: Raw) -> bool:
    """Whether it belongs to the adapter: AIBrix's own objects of it do, a stranger's of the same name does not."""
    metadata = present.get("metadata") or {}
    owners = {str(owner.get("uid")) for owner in metadata.get("ownerReferences") or ()}
    labels = metadata.get("labels") or {}
    return wanted["metadata"]["ownerReferences"][0]["uid"] in owners or labels.get(_MANAGED) == MANAGER


_MANAGED = "app.kubernetes.io/managed-by"
