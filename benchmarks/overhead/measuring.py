"""Rounds of load over all variants, turn by turn, so that a busy moment of the machine hits none alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.load import Load, Outcome, run
from benchmarks.procfs import cpu_seconds
from benchmarks.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from benchmarks.rig import Variant

FLUSH_SECONDS = 1.3
"""Envoy's log comes at most a second late; what it costs belongs to the requests it tells of."""

LOADS = {
    "json": Load(0, requests=1500, concurrency=32),
    "stream": Load(0, requests=192, concurrency=32, stream=True),
    "paced": Load(0, requests=600, rate_per_second=200),
}


@dataclass(frozen=True, slots=True)
class Round:
    """One load on one variant. CPU times are those of whole processes, per completed request."""

    envoy_us: float
    plugin_us: float
    per_second: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float
    frames_per_stream: float


@dataclass(slots=True)
class Measured:
    """All rounds, by variant and load; and what went wrong in them."""

    rounds: dict[str, dict[str, list[Round]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    paced_ttfb_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    timeouts: int = 0

    def figure(self, variant: str, load: str, read: Callable[[Round], float]) -> list[float]:
        """One figure of all rounds."""
        return [read(one) for one in self.rounds[variant][load]]


async def measure(variants: Iterable[Variant], directory: Path, repeats: int, loads: Mapping[str, Load]) -> Measured:
    """Starts everything, warms it up, and goes round."""
    measured = Measured()
    async with contextlib.AsyncExitStack() as stack:
        rigs = [
            await stack.enter_async_context(Rig(variant, directory / str(number)))
            for number, variant in enumerate(variants)
        ]
        for rig in rigs:
            for load in loads.values():
                await run(replace(load, port=rig.gateway_port, requests=200, with_user=rig.with_user))
        for number in range(repeats):
            for name, load in loads.items():
                for rig in rigs if number % 2 == 0 else reversed(rigs):
                    sent = replace(load, port=rig.gateway_port, with_user=rig.with_user)
                    await one_round(measured, rig, name, sent)
    return measured


async def one_round(measured: Measured, rig: Rig, name: str, load: Load) -> None:
    """Adds one round."""
    processor = rig.processor.pid if rig.processor is not None else None
    envoy, plugin = cpu_seconds(rig.envoy.pid), cpu_seconds(processor) if processor else 0.0
    outcome = await run(load)
    await asyncio.sleep(FLUSH_SECONDS)
    envoy = cpu_seconds(rig.envoy.pid) - envoy
    plugin = cpu_seconds(processor) - plugin if processor else 0.0
    measured.errors.update(outcome.errors)
    measured.timeouts += outcome.timeouts
    if name == "paced":
        measured.paced_ttfb_ms[rig.variant.name] += outcome.ttfb_ms
    measured.rounds[rig.variant.name][name].append(round_of(outcome, envoy, plugin))


def round_of(outcome: Outcome, envoy_seconds: float, plugin_seconds: float) -> Round:
    """Per request."""
    completed = max(outcome.completed, 1)
    ttfb = np.array(outcome.ttfb_ms or [np.nan])
    return Round(
        envoy_us=envoy_seconds / completed * 1e6,
        plugin_us=plugin_seconds / completed * 1e6,
        per_second=outcome.completed / outcome.seconds,
        ttfb_p50_ms=float(np.quantile(ttfb, 0.5)),
        ttfb_p99_ms=float(np.quantile(ttfb, 0.99)),
        frames_per_stream=outcome.frames_per_stream,
    )
