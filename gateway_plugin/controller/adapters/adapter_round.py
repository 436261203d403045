"""One look at every ModelAdapter: what pods hold, what they should hold, the next steps, and what is said of it.

Each pod is asked once for all its adapters. Loads and unloads run beside the looks, so one that hangs holds up only
itself. The gateway is told by `status.instances`, before an adapter leaves a pod and after it came to one; where a
container started anew, its pod leaves the instances in the same look.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gateway_plugin.controller.adapters.adapter_spec import (
    FINALIZER,
    AdapterError,
    ModelAdapterSpec,
    loads_at_first_use,
    read_adapter_spec,
    served_name,
)
from gateway_plugin.controller.adapters.adapter_status import AdapterState, adapter_conditions, adapter_status
from gateway_plugin.controller.adapters.engine_calls import LoaderKind
from gateway_plugin.controller.adapters.engine_client import EngineClient, EngineUnreachableError
from gateway_plugin.controller.adapters.holding_pods import HoldingPod, holding_pod
from gateway_plugin.controller.adapters.step_runner import StepRunner
from gateway_plugin.controller.failing_objects import FailingObjects
from gateway_plugin.controller.status_conditions import merged
from orchestration.adapters.adapter_pods import AdapterPod, WantedAdapter
from orchestration.adapters.adapter_steps import steps
from orchestration.adapters.draining import Draining
from orchestration.adapters.first_use import places_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gateway_plugin.controller.workloads import Raw
    from orchestration.adapters.artifact import Artifact

    Artifacts = Mapping[str, Artifact]

logger = logging.getLogger(__name__)

TICK_SECONDS = 2.0
"""Between two looks: a pod that comes up should have its adapters within seconds."""
_POLLS_AT_ONCE = 32
"""Engines asked at the same time: a fleet answers within a look, and descriptors stay few."""


class AdapterApi(Protocol):
    """What of the cluster is read and written."""

    async def adapters(self) -> Sequence[Raw]: ...
    async def pods(self, namespace: str, selector: str) -> Sequence[Raw]: ...
    async def finalizers(self, adapter: Raw, names: Sequence[str]) -> None: ...
    async def write_status(self, adapter: Raw, status: Mapping[str, Any]) -> None: ...
    async def publish(self, adapter: Raw, base: str, port: int, addresses: Mapping[str, str]) -> None: ...
    async def tell(self, adapter: Raw, reason: str, message: str, *, warning: bool = False) -> None: ...


class AdapterUse(Protocol):
    """What the gateway knows of requests."""

    def in_flight(self, adapter: str) -> int | None: ...
    def waiting(self, adapter: str) -> int: ...
    def requests_per_second(self, adapter: str) -> float: ...


@dataclass(slots=True)
class _Seen:
    """One adapter in one look."""

    raw: Raw
    name: str
    spec: ModelAdapterSpec | None = None
    error: tuple[str, str] | None = None
    pods: dict[str, HoldingPod] = field(default_factory=dict)

    @property
    def deleted(self) -> bool:
        return bool((self.raw.get("metadata") or {}).get("deletionTimestamp"))


class AdapterRound:
    """Remembers what drains, what failed, and from which artifact each pod's adapters came."""

    def __init__(
        self,
        api: AdapterApi,
        engines: EngineClient,
        use: AdapterUse,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._api, self._engines, self._use = api, engines, use
        self._clock, self._now, self._rng = clock, now, rng
        self._draining = Draining()
        self.runner = StepRunner(engines, clock)
        self.failing = FailingObjects("adapter", clock)

    async def run(self) -> None:
        """Once. KubeError when the adapters cannot be read; then nothing is done."""
        seen = await self._all_seen(await self._api.adapters())
        pods = {pod.key: pod for one in seen for pod in one.pods.values()}
        held = await self._held(pods)
        wanted = [self._wanted(one) for one in seen if one.spec is not None]
        artifacts = {one.name: one.spec.artifact for one in seen if one.spec is not None}
        states = [self._pod_state(pod, held[key], artifacts) for key, pod in pods.items() if key in held]
        places = places_of(wanted, states, self._rng)
        going = _going(wanted, states, places)
        told = {one.name for one in seen if await self._is_published(one, states, places, going)}
        # Only now, and only of those of which the gateway has been told that they leave.
        going = {(pod, name) for pod, name in going if name in told}
        drained = self._draining.drained(self._clock(), going, self._in_flight(going))
        busy = self.runner.busy(pods)
        for step in steps(wanted, states, places, busy=busy, drained=drained):
            self.runner.start(step, pods[step.pod], artifacts[step.adapter])

    async def _all_seen(self, raws: Sequence[Raw]) -> list[_Seen]:
        """One that fails stays in sight without a specification: nothing is loaded for it, and nothing unloaded."""
        self.failing.keep([_key(raw) for raw in raws])
        found = []
        for raw in raws:
            one = await self.failing.attempt(_key(raw), partial(self._seen, raw))
            found.append(one or _Seen(raw, served_name(raw)))
        return found

    async def _seen(self, raw: Raw) -> _Seen:
        one = _Seen(raw, served_name(raw))
        finalizers = list((raw.get("metadata") or {}).get("finalizers") or ())
        if not one.deleted and FINALIZER not in finalizers:
            await self._api.finalizers(raw, [*finalizers, FINALIZER])
        try:
            one.spec = read_adapter_spec(raw)
        except AdapterError as error:
            one.error = (error.reason, str(error))
            return one
        namespace = str((raw.get("metadata") or {}).get("namespace", ""))
        found = [holding_pod(pod) for pod in await self._api.pods(namespace, one.spec.selector)]
        one.pods = {pod.key: pod for pod in found if pod is not None}
        return one

    async def _held(self, pods: Mapping[str, HoldingPod]) -> dict[str, dict[str, str | None]]:
        """By pod that answered: its adapters, with the path of each where it is told."""
        gate = asyncio.Semaphore(_POLLS_AT_ONCE)

        async def ask(pod: HoldingPod) -> dict[str, str | None] | None:
            async with gate:
                try:
                    return await self._engines.adapters(pod.loader, pod.base)
                except EngineUnreachableError as error:
                    logger.debug("%s: %s", pod.key, error)
                    return None

        answers = await asyncio.gather(*map(ask, pods.values()))
        return {key: answer for key, answer in zip(pods, answers, strict=True) if answer is not None}

    def _wanted(self, one: _Seen) -> WantedAdapter:
        assert one.spec is not None, "asked for right ones only"
        return WantedAdapter(
            one.name,
            one.spec.artifact.identity,
            frozenset(one.pods),
            one.spec.replicas,
            one.spec.scheduler_name,
            self._use.requests_per_second(one.name),
            one.deleted,
            loads_at_first_use(one.raw),
            self._use.waiting(one.name),
            self._use.in_flight(one.name) != 0,
        )

    def _pod_state(self, pod: HoldingPod, held: Mapping[str, str | None], artifacts: Artifacts) -> AdapterPod:
        since = pod.ready_since
        ready_for = None if since is None else max(0.0, (self._now() - since).total_seconds())
        unlisted = self.runner.loaded(pod) if pod.loader.kind is LoaderKind.SGLANG else ()
        paths = {**dict.fromkeys(unlisted), **held}
        loaded = {
            name: self.runner.identity(pod, name, path, artifacts[name]) if name in artifacts else None
            for name, path in paths.items()
        }
        return AdapterPod(pod.key, ready_for, loaded, max_held=pod.max_held)

    def _in_flight(self, going: set[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        """An adapter's requests on all its pods: those of one are not known. Where nobody can say, some may run."""
        known = {name: self._use.in_flight(name) for _, name in going}
        return {pair: 1 if known[pair[1]] is None else known[pair[1]] or 0 for pair in going}

    async def _is_published(
        self,
        one: _Seen,
        states: Sequence[AdapterPod],
        places: Mapping[str, Sequence[str]],
        going: set[tuple[str, str]],
    ) -> bool:
        async def publish() -> bool:
            await self._publish(one, states, places, going)
            return True

        done = await self.failing.attempt(_key(one.raw), publish)
        if done:
            self.failing.succeeded(_key(one.raw))
        return bool(done)

    async def _publish(
        self,
        one: _Seen,
        states: Sequence[AdapterPod],
        places: Mapping[str, Sequence[str]],
        going: set[tuple[str, str]],
    ) -> None:
        holders = [
            state.name
            for state in states
            if state.name in one.pods
            and one.name in state.loaded
            and state.ready_for_seconds is not None
            and (state.name, one.name) not in going
        ]
        if one.deleted:
            await self._finish(one, states)
            return
        state = AdapterState(
            candidates=sum(pod.ready_since is not None for pod in one.pods.values()),
            desired=len(places.get(one.name, ())),
            instances=tuple(sorted(one.pods[key].name for key in holders)),
            failures=self.runner.failures(one.name),
            error=one.error,
            first_use=loads_at_first_use(one.raw),
            was_loaded=(one.raw.get("status") or {}).get("phase") in ("Running", "Evicted"),
        )
        await self._say(one.raw, state)
        if one.spec is not None:
            await self._api.publish(one.raw, one.spec.base_model, _port(one), _addresses(one, holders))

    async def _finish(self, one: _Seen, states: Sequence[AdapterPod]) -> None:
        """Lets a deleted adapter go once no pod that answers has it, or it has waited long enough."""
        left = {(state.name, one.name) for state in states if one.name in state.loaded and state.name in one.pods}
        if left - self._draining.overdue(self._clock()):
            status = dict(one.raw.get("status") or {})
            if status.get("instances"):
                await self._api.write_status(one.raw, {**status, "instances": [], "readyReplicas": 0})
            return
        finalizers = (one.raw.get("metadata") or {}).get("finalizers") or ()
        if FINALIZER in finalizers:
            await self._api.finalizers(one.raw, [name for name in finalizers if name != FINALIZER])

    async def _say(self, raw: Raw, state: AdapterState) -> None:
        present = raw.get("status") or {}
        generation = int((raw.get("metadata") or {}).get("generation") or 0)
        conditions = merged(present.get("conditions") or (), adapter_conditions(state), generation, self._now())
        wanted = {**present, **adapter_status(state), "conditions": conditions}
        if wanted == present:
            return
        await self._api.write_status(raw, wanted)
        if state.phase != present.get("phase"):
            ready = next(one for one in conditions if one["type"] == "Ready")
            words = f"{ready['reason']} {ready['message']}".strip()
            await self._api.tell(raw, state.phase, words, warning=state.phase == "Failed")


def _going(
    wanted: Sequence[WantedAdapter], states: Sequence[AdapterPod], places: Mapping[str, Sequence[str]]
) -> set[tuple[str, str]]:
    """Pairs of pod and adapter that should not be any more."""
    return {
        (state.name, one.name)
        for one in wanted
        for state in states
        if one.name in state.loaded and state.name in one.pods and state.name not in places.get(one.name, ())
    }


def _key(raw: Raw) -> str:
    metadata = raw.get("metadata") or {}
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _port(one: _Seen) -> int:
    return next((pod.port for pod in one.pods.values()), 8000)


def _addresses(one: _Seen, holders: Sequence[str]) -> dict[str, str]:
    return {one.pods[key].name: one.pods[key].address for key in holders}
