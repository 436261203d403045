"""The cluster as autoscaling sees it: `ScalingApi` over the Kubernetes API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import POD, POD_AUTOSCALER, POD_METRICS
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.workloads import Ref, ref_of
from orchestration.scaling.victims import DELETION_COST, DRAINING

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

    async def resize(self, path: str, body: Mapping[str, Any]) -> None:
        await self._client.merge(path, body)

    async def usages(self, namespace: str, selector: str) -> Sequence[Raw]:
        """What pods use of cpu and memory; empty where no metrics server serves it."""
        try:
            return await self._client.list(POD_METRICS, namespace, selector) if selector else ()
        except KubeError as error:
            if error.code not in (403, 404, 503):
                raise
            return ()

    async def mark(self, namespace: str, pod: str, cost: int | None) -> None:
        """Says that a pod is to go, or that it is not; one that is gone needs no mark."""
        values = {DELETION_COST: None if cost is None else str(cost), DRAINING: None if cost is None else "true"}
        try:
            await self._client.patch(Ref(POD.name, namespace, pod), {"metadata": {"annotations": values}})
        except KubeError as error:
            if not error.is_not_found:
                raise

    async def write_status(self, raw: Raw, status: Mapping[str, Any]) -> None:
        await self._client.merge(ref_of(POD_AUTOSCALER, raw).path + "/status", {"status": status})

    async def tell(self, raw: Raw, reason: str, message: str, *, warning: bool = False) -> None:
        await self._events.tell(raw, POD_AUTOSCALER, reason, message, warning=warning)
