"""`python -m benchmarks.held [--streams 3000]`: generations that are held open, all at once.

Streams start at a steady rate and give one chunk a second, until all are open; limits are in Valkey. Promised: no
request refused or failed, nothing overflows in Envoy, a held exchange costs the plugin at most 40 KB of its own memory.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from benchmarks.load import Load, Outcome, run
from benchmarks.procfs import raise_open_files, rss_bytes
from benchmarks.results import Figure, Line, Result, machine
from benchmarks.rig import Rig
from benchmarks.running import conclude, options, progress
from benchmarks.variant import Variant
from gateway_plugin.tools.bench.plots import POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAMS, QUICK_STREAMS = 3000, 300
STARTS_PER_SECOND = 150.0
HOLD_SECONDS, QUICK_HOLD_SECONDS = 5.0, 2.0
GAP_MS = 1000
WARM_UP_REQUESTS = 2000
POLL_SECONDS = 0.5
OVERFLOWS = r"(overflow|upstream_rq_5xx|downstream_rq_5xx|rq_pending_failure_eject)$"


class Sample(NamedTuple):
    """While streams start, stay and end."""

    seconds: float
    open: int
    plugin_mb: float
    envoy_mb: float


@dataclass(frozen=True, slots=True)
class Held:
    """What was seen while all were open, and when all were over."""

    streams: int
    open_at_once: int
    plugin_kb_per_stream: float
    envoy_kb_per_stream: float
    overflows: dict[str, int]
    left_in_flight: int
    completed: int
    errors: dict[str, int]
    timeouts: int
    samples: list[Sample]


async def hold(rig: Rig, streams: int, rate_per_second: float, hold_seconds: float) -> Held:
    """Opens all streams on a rig that has been warmed up, and waits for their end."""
    assert rig.processor is not None
    plugin, envoy = rss_bytes(rig.processor.pid), rss_bytes(rig.envoy_pid)
    chunks = math.ceil((streams / rate_per_second + hold_seconds) * 1000 / GAP_MS) + 1
    load = Load(
        rig.gateway_port,
        requests=streams,
        rate_per_second=rate_per_second,
        stream=True,
        chunks=chunks,
        gap_ms=GAP_MS,
        with_user=rig.with_user,
        timeout_seconds=120,
    )
    running = asyncio.create_task(run(load))
    began, samples = asyncio.get_running_loop().time(), []
    while not running.done():
        is_open = int(await rig.metric("gateway_in_flight_requests"))
        memory = (rss_bytes(rig.processor.pid) / 1e6, rss_bytes(rig.envoy_pid) / 1e6)
        samples.append(Sample(asyncio.get_running_loop().time() - began, is_open, *memory))
        await asyncio.wait([running], timeout=POLL_SECONDS)
    outcome: Outcome = running.result()
    return Held(
        streams=streams,
        open_at_once=max(sample.open for sample in samples),
        plugin_kb_per_stream=(max(one.plugin_mb for one in samples) - plugin / 1e6) / streams * 1e3,
        envoy_kb_per_stream=(max(one.envoy_mb for one in samples) - envoy / 1e6) / streams * 1e3,
        overflows={name: count for name, count in (await rig.envoy_stats(OVERFLOWS)).items() if count},
        left_in_flight=await none_left(rig),
        completed=outcome.completed,
        errors=outcome.errors,
        timeouts=outcome.timeouts,
        samples=samples,
    )


async def none_left(rig: Rig, patience_seconds: float = 5.0) -> int:
    """How many exchanges the plugin still has open, after some patience."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while (left := int(await rig.metric("gateway_in_flight_requests"))) and loop.time() < deadline:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.1)
    return left


async def warm_up(rig: Rig, requests: int) -> None:
    """What a process needs once: threads, caches, arenas."""
    await run(Load(rig.gateway_port, requests=requests, with_user=rig.with_user))
    await run(Load(rig.gateway_port, requests=requests // 10, stream=True, chunks=8, with_user=rig.with_user))
    await asyncio.sleep(1.5)


def promises(held: Held) -> list[Line]:
    """What must hold."""
    return [
        Line("streams that were not open at once", held.streams - held.open_at_once, 0),
        Line("streams that failed", held.streams - held.completed, 0),
        Line("overflows and 5xx in Envoy", sum(held.overflows.values()), 0),
        Line("exchanges left in flight", held.left_in_flight, 0),
        Line("plugin memory per held exchange", held.plugin_kb_per_stream, 40, "KB"),
    ]


def as_result(held: Held, rate_per_second: float) -> Result:
    """In the common form."""
    kept = {"plugin": held.plugin_kb_per_stream, "Envoy": held.envoy_kb_per_stream}
    thinned = held.samples[:: -(-len(held.samples) // POINTS)]
    return Result(
        name="held",
        machine=machine(),
        load={"streams": held.streams, "starts_per_second": rate_per_second, "gap_ms": GAP_MS},
        repeats=1,
        figures=[Figure(f"memory per held stream/{name}", "KB", (round(kb, 2),)) for name, kb in kept.items()],
        lines=promises(held),
        errors=held.errors,
        timeouts=held.timeouts,
        series={
            "seconds": [round(one.seconds, 1) for one in thinned],
            "open": [one.open for one in thinned],
            "plugin_mb": [round(one.plugin_mb, 1) for one in thinned],
            "envoy_mb": [round(one.envoy_mb, 1) for one in thinned],
        },
    )


async def measure(streams: int, hold_seconds: float) -> Held:
    """On a chain of its own."""
    with tempfile.TemporaryDirectory() as directory:
        async with Rig(Variant("held", limits="valkey"), Path(directory)) as rig:
            await warm_up(rig, min(WARM_UP_REQUESTS, 10 * streams))
            return await hold(rig, streams, STARTS_PER_SECOND, hold_seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = options("held", "Generations that are held open, all at once.")
    parser.add_argument("--streams", type=int, default=STREAMS)
    arguments = parser.parse_args(argv)
    raise_open_files()
    with progress() as bar:
        bar.add_task("held", total=None)
        sent = (QUICK_STREAMS, QUICK_HOLD_SECONDS) if arguments.quick else (arguments.streams, HOLD_SECONDS)
        held = asyncio.run(measure(*sent))
    table = Table("streams", "open at once", "plugin KB each", "Envoy KB each", show_edge=False)
    kept = f"{held.plugin_kb_per_stream:.1f}", f"{held.envoy_kb_per_stream:.1f}"
    table.add_row(str(held.streams), str(held.open_at_once), *kept)
    return conclude(as_result(held, STARTS_PER_SECOND), arguments.out, [table], quick=arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
