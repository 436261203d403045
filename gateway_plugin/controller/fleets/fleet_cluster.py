"""The cluster as fleets see it, over the Kubernetes API: fleets, sets, Ray clusters, heads; and what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.autoscaling.pod_facts import pod_facts
from gateway_plugin.controller.autoscaling.pod_pages import value_of
from gateway_plugin.controller.kinds import POD, RAY_CLUSTER, RAY_CLUSTER_FLEET, RAY_CLUSTER_REPLICA_SET, ObjectKind
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.workloads import Ref, ref_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.autoscaling.pod_scraping import PodScraper
    from gateway_plugin.controller.object_events import ObjectEvents
    from gateway_plugin.controller.workloads import Raw

HEADS = "ray.io/node-type=head"
DRAINING = "model.aibrix.ai/draining"
"""An annotation of a pod that is ready and gets nothing new; see `pods/kubernetes/pod_reader.py`."""
_PORT_LABEL = "model.aibrix.ai/port"


class FleetCluster:
    """Lists the named namespaces, or all."""

    def __init__(
        self, client: KubeClient, events: ObjectEvents, scraper: PodScraper, namespaces: Sequence[str] = ()
    ) -> None:
        self._client, self._events, self._scraper = client, events, scraper
        self._namespaces = tuple(namespaces) or ("",)

    async def fleets(self) -> Sequence[Raw]:
        return await self._all(RAY_CLUSTER_FLEET)

    async def sets(self) -> Sequence[Raw]:
        return await self._all(RAY_CLUSTER_REPLICA_SET)

    async def clusters(self) -> Sequence[Raw] | None:
        """None where KubeRay is not installed."""
        try:
            return await self._all(RAY_CLUSTER)
        except KubeError as error:
            if error.is_not_found:
                return None
            raise

    async def heads(self) -> Sequence[Raw]:
        return await self._all(POD, HEADS)

    async def in_flight(self, heads: Sequence[Raw]) -> Mapping[str, float | None]:
        """Requests in the engine of each head, by name of the pod; None where its page cannot be read."""
        facts = {one.name: (one, _port(raw)) for raw in heads if (one := pod_facts(raw)) is not None}
        urls = {name: one.url("http", port, "/metrics") for name, (one, port) in facts.items() if one.address}
        pages = await self._scraper.pages(tuple(urls.values()))
        found: dict[str, float | None] = {}
        for name, (one, _) in facts.items():
            page = pages.get(urls.get(name, ""))
            values = [value_of(metric, one.engine, page) for metric in ("running", "waiting")] if page else [None]
            found[name] = None if None in values else sum(value or 0.0 for value in values)
        return found

    async def create(self, kind: ObjectKind, body: Mapping[str, Any]) -> None:
        """One that is there already, as of a look before, is as good."""
        try:
            await self._client.create(kind, str(body["metadata"]["namespace"]), body)
        except KubeError as error:
            if not error.is_race:
                raise

    async def change(self, kind: ObjectKind, raw: Raw, body: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(ref_of(kind, raw), body)
        except KubeError as error:
            if not error.is_not_found:
                raise

    async def delete(self, kind: ObjectKind, raw: Raw) -> None:
        """Only what was looked at; what depends on it goes with it."""
        metadata = raw.get("metadata") or {}
        ref = Ref(kind.name, str(metadata.get("namespace", "")), str(metadata.get("name", "")))
        try:
            await self._client.delete(ref, str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))
        except KubeError as error:
            if not (error.is_not_found or error.is_race):
                raise

    async def write_status(self, kind: ObjectKind, raw: Raw, status: Mapping[str, Any]) -> None:
        try:
            await self._client.merge(ref_of(kind, raw).path + "/status", {"status": status})
        except KubeError as error:
            if not error.is_not_found:
                raise

    async def tell(self, kind: ObjectKind, raw: Raw, reason: str, message: str, *, warning: bool = False) -> None:
        await self._events.tell(raw, kind, reason, message, warning=warning)

    async def _all(self, kind: ObjectKind, selector: str = "") -> list[Raw]:
        return [raw for name in self._namespaces for raw in await self._client.list(kind, name, selector)]


def _port(raw: Raw) -> str:
    text = str(((raw.get("metadata") or {}).get("labels") or {}).get(_PORT_LABEL) or "")
    return text if text.isascii() and text.isdecimal() else "8000"
