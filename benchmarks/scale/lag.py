"""How long the plugin's event loop keeps others waiting, while it scrapes 100 pods, idle and under load."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.load import Load, Outcome, run
from benchmarks.rig import Rig
from benchmarks.scale.scraping import page
from benchmarks.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PODS = 100
SECONDS = 3.0
WARM_UP_REQUESTS = 300
SETTLE_SECONDS = 1.5
PACED, MANY = "200 requests per second", "32 requests at once"
IDLE = "no requests"
_BUSY_PER_SECOND = 800
"""About what such a load brings; how many requests it takes to fill the time."""


class Lag(NamedTuple):
    """Of a ticker, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    ticks: int


async def measure(directory: Path, share: float) -> tuple[dict[str, Lag], list[Outcome]]:
    """By load; `share` of the usual time. Limits are in Valkey."""
    file = directory / "lags"
    command = (sys.executable, "-m", "benchmarks.scale.ticking", str(file))
    variant = Variant("ticking", command=command, limits="valkey", pods=PODS, metrics_page=page(1))
    spans: dict[str, tuple[float, float]] = {}
    outcomes = []
    async with Rig(variant, directory) as rig:
        seconds = SECONDS * share
        port = rig.gateway_port
        await run(Load(port, requests=WARM_UP_REQUESTS, with_user=True))
        await asyncio.sleep(SETTLE_SECONDS)
        began = time.time()
        await asyncio.sleep(seconds)
        spans[IDLE] = began, time.time()
        for name, load in (
            (PACED, Load(port, requests=int(200 * seconds), rate_per_second=200, with_user=True)),
            (MANY, Load(port, requests=int(_BUSY_PER_SECOND * seconds), with_user=True)),
        ):
            began = time.time()
            outcomes.append(await run(load))
            spans[name] = began, time.time()
    return lags(file.read_bytes(), spans), outcomes


def lags(content: bytes, spans: Mapping[str, tuple[float, float]]) -> dict[str, Lag]:
    """What the ticker noted in each span."""
    noted = np.frombuffer(content, dtype=np.float64).reshape(-1, 2)
    found = {}
    for name, (begins, ends) in spans.items():
        late = noted[(noted[:, 0] >= begins) & (noted[:, 0] <= ends), 1] * 1e3
        if len(late):
            p50, p99 = np.quantile(late, (0.5, 0.99))
            found[name] = Lag(round(float(p50), 3), round(float(p99), 3), round(float(late.max()), 3), len(late))
    return found
