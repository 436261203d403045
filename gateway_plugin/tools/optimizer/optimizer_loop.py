"""Every ten seconds a plan for each model that is followed: from its traces, its deployments and their profiles."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from gateway_plugin.tools.optimizer.trace_store import TraceStoreError
from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules, PodBounds
from orchestration.optimizer.gpu_plan import ModelPlan, NoPlanError, plan
from orchestration.optimizer.request_cells import INTERVAL_SECONDS, rates

if TYPE_CHECKING:
    from collections import Counter

    from orchestration.optimizer.gpu_profiles import GpuProfile
    from orchestration.optimizer.request_cells import Cell

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 240
"""Of traffic that a plan is made for; AIBrix's."""
_MOST_DEPLOYMENTS = 1024
"""Followed at the same time."""


class Traces(Protocol):
    """Where traffic and profiles are known."""

    async def traces(self, model: str, now: float, window_seconds: int) -> list[Counter[Cell]]: ...
    async def profile(self, model: str, deployment: str) -> GpuProfile | None: ...


@dataclass(slots=True)
class FollowedDeployment:
    """One that is scaled by what is planned. `override`: of a person, -1 for none."""

    namespace: str
    name: str
    model: str
    least: int = 0
    replicas: int = 0
    override: int = -1
    error: str = ""

    @property
    def wanted(self) -> int:
        return self.override if self.override >= 0 else self.replicas


@dataclass(slots=True)
class OptimizerLoop:
    """Remembers deployments and their last plan: where nothing is known the last one holds."""

    store: Traces
    rules: PlanRules
    deployments: dict[tuple[str, str], FollowedDeployment] = field(default_factory=dict)
    plans: dict[str, ModelPlan] = field(default_factory=dict)

    def follow(self, namespace: str, name: str, model: str, least: int = 0) -> FollowedDeployment:
        """ValueError when there are too many."""
        if (namespace, name) not in self.deployments and len(self.deployments) >= _MOST_DEPLOYMENTS:
            raise ValueError(f"{_MOST_DEPLOYMENTS} deployments are followed already")
        one = self.deployments.setdefault((namespace, name), FollowedDeployment(namespace, name, model, least, least))
        one.model, one.least = model, least
        return one

    async def run(self, now: float) -> None:
        """Once, for all models; one that fails keeps its last plan."""
        for model in {one.model for one in self.deployments.values()}:
            own = [one for one in self.deployments.values() if one.model == model]
            try:
                await self._plan(model, own, now)
            except (TraceStoreError, NoPlanError, ValueError) as error:
                logger.warning("%s: %s; what was planned before holds", model, error)
                for one in own:
                    one.error = str(error)

    async def _plan(self, model: str, own: list[FollowedDeployment], now: float) -> None:
        traces = await self.store.traces(model, now, WINDOW_SECONDS)
        wanted = rates(traces, WINDOW_SECONDS)
        if not wanted:
            for one in own:
                one.replicas, one.error = one.least, ""
            self.plans.pop(model, None)
            return
        found = {one.name: await self.store.profile(model, one.name) for one in own}
        missing = [name for name, profile in found.items() if profile is None]
        for one in own:
            one.error = "no profile: it keeps its size" if one.name in missing else ""
        profiles = [profile for profile in found.values() if profile is not None]
        if not profiles:
            raise ValueError(f"no profile of {', '.join(missing)} is in Redis")
        bounds = {one.name: PodBounds(one.least, None, one.replicas) for one in own}
        demand = GpuDemand(model, wanted, profiles, bounds)
        # Solved in a thread: metrics are asked for meanwhile.
        planned = (await asyncio.to_thread(plan, [demand], replace(self.rules)))[model]
        self.plans[model] = planned
        for one in own:
            one.replicas = planned.pods.get(one.name, one.replicas)

    async def keep(self) -> None:
        """For ever."""
        while True:
            await self.run(time.time())
            await asyncio.sleep(INTERVAL_SECONDS)
