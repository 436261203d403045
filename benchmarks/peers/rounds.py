"""Rounds of the same work through every gateway, in turns; who came last in one round comes first in the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.load import Load
from benchmarks.peers.gateways import Cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.load import LoadProcess
    from benchmarks.peers.gateways import Gateway

PROMPTS = 300
LOADS = {
    "512 B": Load(0, requests=1200, body_bytes=512, prompts=PROMPTS),
    "16 KiB": Load(0, requests=600, body_bytes=16 * 1024, prompts=PROMPTS),
    "SSE, 128 chunks": Load(0, requests=64, stream=True, prompts=PROMPTS),
    "200/s": Load(0, requests=300, rate_per_second=200.0, body_bytes=512, prompts=PROMPTS),
}
STEADY = "200/s"
IDLE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Turns:
    """What is sent, how often and how much of it, and how long idle processes are watched."""

    loads: Mapping[str, Load]
    rounds: int
    share: float
    idle_seconds: float


@dataclass(slots=True)
class Figures:
    """Of one gateway: by load the CPU microseconds per request of each round, and times to first byte."""

    us: dict[str, list[Cpu]] = field(default_factory=lambda: defaultdict(list))
    ttfb_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    idle_ms: float = 0.0
    """CPU milliseconds per second of all its processes while nobody asks anything."""
    pss_bytes: int = 0
    failures: dict[str, int] = field(default_factory=dict)


async def measure(
    gateways: Sequence[Gateway], sender: LoadProcess, turns: Turns, done: Callable[[], None]
) -> dict[str, Figures]:
    """Warms all up, measures them while idle, then goes round."""
    figures = {gateway.name: Figures() for gateway in gateways}
    for gateway in gateways:
        for load in turns.loads.values():
            await _once(gateway, sender, load, max(0.1, turns.share / 4), Figures())
        done()
    await asyncio.sleep(max(gateway.lag_seconds for gateway in gateways) + 1.0)
    before = [gateway.cpu() for gateway in gateways]
    await asyncio.sleep(turns.idle_seconds)
    for gateway, was in zip(gateways, before, strict=True):
        figures[gateway.name].idle_ms = (sum(gateway.cpu()) - sum(was)) / turns.idle_seconds * 1e3
        figures[gateway.name].pss_bytes = gateway.pss_bytes()
    for number in range(turns.rounds):
        for name, load in turns.loads.items():
            for gateway in gateways if number % 2 else reversed(gateways):
                await _once(gateway, sender, load, turns.share, figures[gateway.name], name)
                done()
    return figures


async def _once(
    gateway: Gateway, sender: LoadProcess, load: Load, share: float, figures: Figures, name: str = ""
) -> None:
    """One load through one gateway; what is still to be done for it is waited for, what idling costs is taken off."""
    requests = max(2, round(load.requests * share))
    loop, before = asyncio.get_running_loop(), gateway.cpu()
    began = loop.time()
    outcome = await sender.run(replace(load, port=gateway.port, requests=requests, with_user=gateway.with_user))
    await asyncio.sleep(gateway.lag_seconds)
    after, seconds = gateway.cpu(), loop.time() - began
    for what, count in (*outcome.errors.items(), *([("timeout", outcome.timeouts)] if outcome.timeouts else ())):
        figures.failures[what] = figures.failures.get(what, 0) + count
    if not name or not outcome.completed:
        return
    used = [max(0.0, now - was) / outcome.completed * 1e6 for now, was in zip(after, before, strict=True)]
    idle_us = figures.idle_ms * 1e3 * seconds / outcome.completed
    figures.us[name].append(Cpu(used[0], max(0.0, used[1] - idle_us), used[2]))
    figures.ttfb_ms[name] += np.array(outcome.ttfb_ms).tolist()
