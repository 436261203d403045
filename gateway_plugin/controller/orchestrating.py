"""The controllers of adapters, autoscalers and fleets, as one part of the controller's process.

One process of several leads; only that one writes. While AIBrix's own manager lives, ours watch and say so, unless
`take_over` is set. A kind that is not installed is none of our business until it is. What fails in a way nobody foresaw
is one object's, or one part's, and not the end of the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway_plugin.controller.adapters.adapter_api import AdapterObjects
from gateway_plugin.controller.adapters.adapter_round import TICK_SECONDS as ADAPTER_SECONDS
from gateway_plugin.controller.adapters.adapter_round import AdapterRound
from gateway_plugin.controller.adapters.engine_client import EngineClient
from gateway_plugin.controller.autoscaling.autoscaler_api import AutoscalerApi
from gateway_plugin.controller.autoscaling.autoscaling_round import TICK_SECONDS as SCALING_SECONDS
from gateway_plugin.controller.autoscaling.autoscaling_round import AutoscalingRound
from gateway_plugin.controller.autoscaling.pod_scraping import PodScraper
from gateway_plugin.controller.coexistence import AIBRIX_LEASE, AIBRIX_NAMESPACE, AibrixWatch
from gateway_plugin.controller.fleets.fleet_cluster import FleetCluster
from gateway_plugin.controller.fleets.fleet_round import TICK_SECONDS as FLEET_SECONDS
from gateway_plugin.controller.fleets.fleet_round import FleetRound
from gateway_plugin.controller.gateway_demand import DemandReader, GatewayDemand, load_urls
from gateway_plugin.controller.kinds import ENDPOINT_SLICE, LEASE
from gateway_plugin.controller.kvcaches.cache_round import TICK_SECONDS as CACHE_SECONDS
from gateway_plugin.controller.kvcaches.cache_round import KvCacheRound
from gateway_plugin.controller.leader_election import LeaderElection, LeadersClient
from gateway_plugin.controller.object_events import ObjectEvents
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.standing import Standing
from gateway_plugin.controller.workloads import Ref

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway_plugin.controller.orchestration_rules import OrchestrationRules

logger = logging.getLogger(__name__)

_DEMAND_SECONDS = 1.0
"""Between two questions to the gateway's replicas: a request that waits for a pod is seen within them."""
_LOOK_SECONDS = 60.0
"""A look that takes longer is given up: whatever hangs must not be the end of all looks."""


class Looking(Protocol):
    """One controller's look at everything."""

    async def run(self) -> None: ...


class Orchestration:
    def __init__(
        self,
        client: KubeClient,
        election: LeaderElection,
        rules: OrchestrationRules,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._client, self._election = LeadersClient(client, election), election
        self._demand = GatewayDemand(asyncio.get_running_loop().time)
        self._rules, self._namespaces = rules, namespaces
        self._aibrix = AibrixWatch()
        self._woken = asyncio.Event()
        self.standing = Standing()
        self._rounds: dict[str, AutoscalingRound | AdapterRound | FleetRound | KvCacheRound] = {}
        self.observes_only = False
        """AIBrix's manager lives."""

    async def run(self) -> None:
        """Until it is cancelled."""
        async with AsyncExitStack() as stack:
            loops: dict[str, Callable[[], Awaitable[None]]] = {"leader election": self._election.run}
            if self._rules.gateway[1]:
                reader = DemandReader(self._demand)
                stack.push_async_callback(reader.close)
                loops["demand"] = partial(self._follow_demand, reader)
            loops |= self._lookers(stack)
            tasks = [asyncio.create_task(self.standing.keep(part, run)) for part, run in loops.items()]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def failures(self) -> dict[str, int]:
        """Unforeseen ones so far, by part; those of single objects count for the part that looks at them."""
        found = dict(self.standing.failures)
        for part, one in self._rounds.items():
            found[part] = found.get(part, 0) + one.failing.total
        return found

    def _lookers(self, stack: AsyncExitStack) -> dict[str, Callable[[], Awaitable[None]]]:
        clock = asyncio.get_running_loop().time
        events = ObjectEvents(self._client, _now, clock)
        found: dict[str, Callable[[], Awaitable[None]]] = {}
        if self._rules.autoscalers:
            scraper = PodScraper()
            stack.push_async_callback(scraper.close)
            api = AutoscalerApi(self._client, events, self._namespaces)
            scaling = AutoscalingRound(api, scraper, self._demand, clock=clock, now=_now)
            self._rounds["autoscalers"] = scaling
            found["autoscalers"] = partial(self._loop, "autoscalers", scaling, SCALING_SECONDS)
        if self._rules.adapters:
            engines = EngineClient()
            stack.push_async_callback(engines.close)
            objects = AdapterObjects(self._client, events, self._namespaces)
            adapters = AdapterRound(objects, engines, self._demand, clock=clock, now=_now, rng=random.Random())
            self._rounds["adapters"] = adapters
            found["adapters"] = partial(self._loop, "adapters", adapters, ADAPTER_SECONDS)
        if self._rules.fleets:
            pages = PodScraper()
            stack.push_async_callback(pages.close)
            fleets = FleetRound(FleetCluster(self._client, events, pages, self._namespaces), clock=clock, now=_now)
            self._rounds["fleets"] = fleets
            found["fleets"] = partial(self._loop, "fleets", fleets, FLEET_SECONDS)
        if self._rules.kvcaches:
            caches = KvCacheRound(self._client, self._namespaces, clock=clock, now=_now)
            self._rounds["kvcaches"] = caches
            found["kvcaches"] = partial(self._loop, "kvcaches", caches, CACHE_SECONDS)
        return found

    async def _follow_demand(self, reader: DemandReader) -> None:
        namespace, service = self._rules.gateway
        selector = f"kubernetes.io/service-name={service}"
        while True:
            try:
                await reader.read(load_urls(await self._client.list(ENDPOINT_SLICE, namespace, selector)))
            except KubeError as error:
                logger.debug("the gateway's replicas are not known: %s", error)
            if self._demand.anybody_waits:
                self._woken.set()
            await asyncio.sleep(_DEMAND_SECONDS)

    async def _loop(self, what: str, looking: Looking, seconds: float) -> None:
        failing = False
        while True:
            try:
                if self._election.leads and not await self._must_observe():
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await looking.run()
                failing = False
            except (KubeError, TimeoutError) as error:
                if not (isinstance(error, KubeError) and error.is_not_found) and not failing:
                    logger.warning("%s cannot be looked at: %s; trying again", what, str(error) or "no answer in time")
                failing = True
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Until it is time to look again, or somebody waits for a pod."""
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _must_observe(self) -> bool:
        if self._rules.take_over:
            return False
        try:
            lease = await self._client.get(Ref(LEASE.name, AIBRIX_NAMESPACE, AIBRIX_LEASE))
        except KubeError as error:
            if error.code not in (403, 404):
                raise
            lease = {}
        active = self._aibrix.is_active(lease.get("spec"), asyncio.get_running_loop().time())
        if active != self.observes_only:
            self.observes_only = active
            logger.warning(
                "AIBrix's controller manager %s",
                "is running: adapters, autoscalers and fleets are only watched; stop it, or set take_over"
                if active
                else "is gone",
            )
        return active


def _now() -> datetime:
    return datetime.now(UTC)
