"""One look at every PodAutoscaler: read, decide, resize, say so. Woken every `TICK_SECONDS`, and by requests that wait.

Nothing is written that says nothing new, so a quiet cluster is not written to. What is remembered between looks is
windows only; a controller that starts anew resizes nothing because of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gateway_plugin.controller.autoscaling.autoscaler_spec import AutoscalerError
from gateway_plugin.controller.autoscaling.autoscaler_status import Rescale, conditions_of, history, refused
from gateway_plugin.controller.autoscaling.followed_autoscaler import Followed, followed, resource_page
from gateway_plugin.controller.autoscaling.pod_facts import PodFacts, model_of, pod_facts
from gateway_plugin.controller.autoscaling.resource_usage import values_of
from gateway_plugin.controller.autoscaling.scale_targets import ScaleTargetError, losers
from gateway_plugin.controller.failing_objects import FailingObjects
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.status_conditions import StatusCondition, api_time, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gateway_plugin.controller.autoscaling.gateway_scaling import Demand
    from gateway_plugin.controller.autoscaling.pod_scraping import Page, PodScraper
    from gateway_plugin.controller.workloads import Raw

logger = logging.getLogger(__name__)

TICK_SECONDS = 5.0
"""Between two looks: engines' own figures are some seconds old, and a start takes a minute."""


class ScalingApi(Protocol):
    """What of the cluster is read and written."""

    async def autoscalers(self) -> Sequence[Raw]: ...
    async def scale(self, path: str) -> Raw: ...
    async def pods(self, namespace: str, selector: str) -> Sequence[Raw]: ...
    async def resize(self, path: str, body: Mapping[str, Any]) -> None: ...
    async def usages(self, namespace: str, selector: str) -> Sequence[Raw]: ...
    async def mark(self, namespace: str, pod: str, cost: int | None) -> None: ...
    async def write_status(self, raw: Raw, status: Mapping[str, Any]) -> None: ...
    async def tell(self, raw: Raw, reason: str, message: str, *, warning: bool = False) -> None: ...


@dataclass(slots=True)
class _Known:
    """An autoscaler as it was read last; made anew when its author changes it."""

    version: tuple[object, ...]
    followed: Followed


class AutoscalingRound:
    """Holds what is remembered of each autoscaler, while it exists."""

    def __init__(
        self,
        api: ScalingApi,
        scraper: PodScraper,
        demand: Demand,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._api, self._scraper, self._demand = api, scraper, demand
        self._clock, self._now = clock, now
        self._known: dict[tuple[str, str], _Known] = {}
        self.failing = FailingObjects("autoscaler", clock)

    async def run(self) -> None:
        """Once. KubeError when the autoscalers themselves cannot be read; then nothing is resized."""
        raws = {_name(raw): raw for raw in await self._api.autoscalers()}
        self._known = {name: known for name, known in self._known.items() if name in raws}
        self.failing.keep(["/".join(name) for name in raws])
        right: dict[tuple[str, str], Followed] = {}
        for name, raw in raws.items():
            one = await self.failing.attempt("/".join(name), partial(self._read, name, raw))
            if one is not None:
                right[name] = one
        lost = losers([(one.target, _created(raws[name]), "/".join(name)) for name, one in right.items()])
        for name, one in right.items():
            key = "/".join(name)
            await self.failing.attempt(key, partial(self._look_at, key, raws[name], one, lost.get(key)))

    async def _look_at(self, key: str, raw: Raw, one: Followed, winner: str | None) -> None:
        if winner is not None:
            await self._say(raw, refused("MultiPodAutoscalerConflict", f"{winner} is older", "AbleToScale"))
        else:
            try:
                await self._follow(raw, one)
            except (KubeError, ScaleTargetError) as error:
                await self._say(raw, refused("FailedGetScale", str(error), "AbleToScale"))
        self.failing.succeeded(key)

    async def _read(self, name: tuple[str, str], raw: Raw) -> Followed | None:
        metadata = raw.get("metadata") or {}
        known = self._known.get(name)
        version = tuple(metadata.get(key) for key in ("uid", "generation", "annotations", "labels"))
        if known is not None and known.version == version:
            return known.followed
        try:
            one = followed(raw)
        except AutoscalerError as error:
            self._known.pop(name, None)
            await self._say(raw, refused(error.reason, str(error)))
            return None
        self._known[name] = _Known(version, one)
        for note in one.notes:
            reason, _, message = note.partition(": ")
            await self._api.tell(raw, reason, message, warning=True)
        return one

    async def _follow(self, raw: Raw, one: Followed) -> None:
        scale = await self._api.scale(one.target.path)
        selector = one.target.selector(scale)
        raws = await self._api.pods(one.target.namespace, selector)
        pods = [facts for pod in raws if (facts := pod_facts(pod)) is not None]
        one.model = model_of(selector, pods) or one.model
        pages = await self._scraper.pages(one.urls(pods))
        pages = {**pages, **await self._resources(one, selector, raws)}
        await self._decide(raw, one, scale, pods, pages)

    async def _resources(self, one: Followed, selector: str, pods: Sequence[Raw]) -> Mapping[str, Page]:
        """CPU and memory as if each pod had a page of them."""
        resources = one.resources
        if not resources:
            return {}
        usages = await self._api.usages(one.target.namespace, selector)
        found = {resource: values_of(resource, pods, usages) for resource in resources}
        names = {name for values in found.values() for name in values}
        return {
            resource_page(name): {
                resource: [found[resource][name]] for resource in resources if name in found[resource]
            }
            for name in names
        }

    async def _decide(
        self, raw: Raw, one: Followed, scale: Raw, pods: Sequence[PodFacts], pages: Mapping[str, Page]
    ) -> None:
        replicas = one.target.replicas(scale)
        if one.gateway is not None:
            one.gateway.see(self._clock(), one.model, replicas, pods, self._demand)
        clock, now = self._clock(), self._now()
        decision = one.autoscaler.decide(
            one.observations(clock, replicas, pods, pages),
            one.timetable.bounds_at(now),
            idle_for_seconds=self._demand.idle_seconds(one.model),
            waiting=self._demand.waiting(one.model),
        )
        conditions = conditions_of(decision, one.unread(pods, pages))
        size = await self._drained(one, replicas, decision.replicas, pods)
        if size == replicas:
            await self._say(raw, conditions, {"actualScale": len(pods), "desiredScale": decision.replicas})
            return
        change = Rescale(now, replicas, size, decision.why)
        try:
            await self._api.resize(one.target.path, one.target.resized(scale, size))
        except KubeError as error:
            change = replace(change, error=str(error))
            conditions += [StatusCondition("AbleToScale", "False", "FailedRescale", str(error))]
        else:
            one.autoscaler.changed(clock, replicas, size)
        await self._tell_change(raw, one, change, conditions, len(pods))

    async def _drained(self, one: Followed, replicas: int, wanted: int, pods: Sequence[PodFacts]) -> int:
        """The size to ask for now: pods that are to go are told first, and end what they have."""
        if one.gateway is None:
            return wanted
        leave = one.gateway.leave(self._clock(), replicas, wanted, pods, self._demand)
        for pod in pods:
            if pod.mark != leave.marks.get(pod.name):
                await self._api.mark(one.target.namespace, pod.name, leave.marks.get(pod.name))
        return leave.replicas

    async def _tell_change(
        self, raw: Raw, one: Followed, change: Rescale, conditions: Sequence[StatusCondition], actual: int
    ) -> None:
        words = f"{one.target}: new size {change.after}, was {change.before}; reason: {change.why}"
        if change.error:
            logger.warning("%s could not be resized: %s", one.target, change.error)
            await self._api.tell(raw, "FailedRescale", f"{words}; error: {change.error}", warning=True)
        else:
            logger.info("%s", words)
            await self._api.tell(raw, "SuccessfulRescale", words)
        past = (raw.get("status") or {}).get("scalingHistory") or ()
        figures = {"actualScale": actual, "desiredScale": change.after, "scalingHistory": history(past, change)}
        if not change.error:
            figures["lastScaleTime"] = api_time(change.at)
        await self._say(raw, conditions, figures)

    async def _say(
        self, raw: Raw, conditions: Sequence[StatusCondition], figures: Mapping[str, Any] | None = None
    ) -> None:
        present = raw.get("status") or {}
        generation = int((raw.get("metadata") or {}).get("generation") or 0)
        wanted = {
            **present,
            **(figures or {}),
            "conditions": merged(present.get("conditions") or (), conditions, generation, self._now()),
        }
        if wanted != present:
            await self._api.write_status(raw, wanted)


def _name(raw: Raw) -> tuple[str, str]:
    metadata = raw.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _created(raw: Raw) -> str:
    return str((raw.get("metadata") or {}).get("creationTimestamp", ""))
