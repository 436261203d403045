"""The cluster as autoscaling sees it: `ScalingApi` over the Kubernetes API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import POD, POD_AUTOSCALER
from gateway_plugin.controller.workloads import ref_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.object_events import ObjectEvents
    from gateway_plugin.controller.route_client import KubeClient
    from gateway_plugin.controller.workloads import Raw


class AutoscalerApi:
    """Lists autoscalers of the named namespaces, or of all."""

    def __init__(self, client: KubeClient, events: ObjectEvents, namespaces: Sequence[str] = ()) -> None:
        self._client, self._events = client, events
        self._namespaces = tuple(namespaces) or ("",)

    async def autoscalers(self) -> Sequence[Raw]:
        return [raw for name in self._namespaces for raw in await self._client.list(POD_AUTOSCALER, name)]

    async def scale(self, path: str) -> Raw:
        return await self._client.read(path)

    async def pods(self, namespace: str, selector: str) -> Sequence[Raw]:
        # Without a selector every pod of the namespace would count.
        return await self._client.list(POD, namespace, selector) if selector else ()

    async def resize(self, path: str, replicas: int) -> None:
        await self._client.merge(path, {"spec": {"replicas": replicas}})

    async def write_status(self, raw: Raw, status: Mapping[str, Any]) -> None:
        await self._client.merge(ref_of(POD_AUTOSCALER, raw).path + "/status", {"status": status})

    async def tell(self, raw: Raw, reason: str, message: str, *, warning: bool = False) -> None:
        await self._events.tell(raw, POD_AUTOSCALER, reason, message, warning=warning)
