"""Carries out loads and unloads beside the looks, and remembers how they went, while pod and adapter exist."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.controller.adapters.engine_calls import LoadAnswer, LoaderKind, LoadOutcome
from gateway_plugin.controller.adapters.engine_client import EngineClient, EngineUnreachableError
from orchestration.adapters.adapter_steps import LoadAdapter, Step, delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.controller.adapters.holding_pods import HoldingPod
    from orchestration.adapters.artifact import Artifact

logger = logging.getLogger(__name__)

Pair = tuple[str, str]
"""A pod's key and an adapter's name."""


@dataclass(slots=True)
class _Trouble:
    failures: int
    again_at: float
    reason: str
    words: str


class StepRunner:
    def __init__(self, engines: EngineClient, clock: Callable[[], float]) -> None:
        self._engines, self._clock = engines, clock
        self._tasks: dict[Pair, asyncio.Task[None]] = {}
        self._trouble: dict[Pair, _Trouble] = {}
        self._loaded_from: dict[tuple[str, str], str] = {}
        """By a pod's life and an adapter's name: the identity of the artifact that we loaded."""

    def start(self, step: Step, pod: HoldingPod, artifact: Artifact) -> None:
        self._tasks[step.pod, step.adapter] = asyncio.create_task(self._run(step, pod, artifact))

    def busy(self, pods: Mapping[str, HoldingPod]) -> set[Pair]:
        """Pairs under way, or that must wait after a failure. Forgets what belongs to pods that are gone."""
        self._tasks = {pair: task for pair, task in self._tasks.items() if not task.done()}
        self._trouble = {pair: one for pair, one in self._trouble.items() if pair[0] in pods}
        lives = {pod.life for pod in pods.values()}
        self._loaded_from = {key: one for key, one in self._loaded_from.items() if key[0] in lives}
        now = self._clock()
        return set(self._tasks) | {pair for pair, one in self._trouble.items() if one.again_at > now}

    def failures(self, adapter: str) -> dict[str, tuple[str, str]]:
        return {pod: (one.reason, one.words) for (pod, name), one in self._trouble.items() if name == adapter}

    def identity(self, pod: HoldingPod, adapter: str, path: str | None, artifact: Artifact) -> str | None:
        """Which artifact a pod's adapter came from; None when nobody can tell, which counts as the right one.

        As we loaded it, else by the path that the engine tells: an engine was given the artifact's own path, and a
        sidecar keeps it in a directory with the identity in its name.
        """
        known = self._loaded_from.get((pod.life, adapter))
        if known is not None or path is None:
            return known
        if path == artifact.engine_path or artifact.identity in path:
            return artifact.identity
        return None if pod.loader.kind is LoaderKind.SIDECAR else f"path:{path}"

    def loaded(self, pod: HoldingPod) -> set[str]:
        """What we loaded into a pod since it started: some versions of SGLang do not list adapters."""
        return {adapter for life, adapter in self._loaded_from if life == pod.life}

    async def wait(self) -> None:
        """Until what is under way has ended."""
        await asyncio.gather(*self._tasks.values())

    async def _run(self, step: Step, pod: HoldingPod, artifact: Artifact) -> None:
        try:
            answer = await self._call(step, pod, artifact)
        except EngineUnreachableError as error:
            answer = LoadAnswer(LoadOutcome.REFUSED, "EngineUnreachable", str(error))
        pair = (step.pod, step.adapter)
        if answer.is_success:
            self._trouble.pop(pair, None)
            self._note(step, pod, artifact)
            logger.info("%s %s: %s", type(step).__name__, pair, answer.outcome.value)
            return
        failures = self._trouble[pair].failures + 1 if pair in self._trouble else 1
        delay = delay_seconds(failures)
        self._trouble[pair] = _Trouble(failures, self._clock() + delay, answer.reason, answer.words)
        log = logger.warning if failures == 1 else logger.debug
        log("%s %s: %s %s; again in %.0f s", type(step).__name__, pair, answer.reason, answer.words, delay)

    async def _call(self, step: Step, pod: HoldingPod, artifact: Artifact) -> LoadAnswer:
        if isinstance(step, LoadAdapter):
            return await self._engines.load(pod.loader, step.adapter, artifact, in_place=step.in_place)
        return await self._engines.unload(pod.loader, step.adapter)

    def _note(self, step: Step, pod: HoldingPod, artifact: Artifact) -> None:
        if isinstance(step, LoadAdapter):
            self._loaded_from[pod.life, step.adapter] = artifact.identity
        else:
            self._loaded_from.pop((pod.life, step.adapter), None)
