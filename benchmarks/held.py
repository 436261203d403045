"""`python -m benchmarks.held [--streams 3000]`: generations that are held open, all at once.

Streams start at a steady rate and give one chunk a second, until all are open; limits are in Valkey. Promised: no
request refused or failed, nothing overflows in Envoy, a held exchange costs the plugin at most 40 KB of its own memory.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.load import Load, Outcome, run
from benchmarks.procfs import raise_open_files, rss_bytes
from benchmarks.results import Line, Result, machine, today, write
from benchmarks.rig import Rig
from benchmarks.table import promise_table
from benchmarks.variant import Variant

STARTS_PER_SECOND = 150.0
HOLD_SECONDS = 5.0
GAP_MS = 1000
WARM_UP_REQUESTS = 2000
POLL_SECONDS = 0.5
OVERFLOWS = r"(overflow|upstream_rq_5xx|downstream_rq_5xx|rq_pending_failure_eject)$"


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


async def hold(rig: Rig, streams: int, rate_per_second: float, hold_seconds: float) -> Held:
    """Opens all streams on a rig that has been warmed up, and waits for their end."""
    assert rig.processor is not None
    plugin, envoy = rss_bytes(rig.processor.pid), rss_bytes(rig.envoy.pid)
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
    most, plugin_most, envoy_most = 0, plugin, envoy
    while not running.done():
        most = max(most, int(await rig.metric("gateway_in_flight_requests")))
        plugin_most, envoy_most = (
            max(plugin_most, rss_bytes(rig.processor.pid)),
            max(envoy_most, rss_bytes(rig.envoy.pid)),
        )
        await asyncio.wait([running], timeout=POLL_SECONDS)
    outcome: Outcome = running.result()
    return Held(
        streams=streams,
        open_at_once=most,
        plugin_kb_per_stream=(plugin_most - plugin) / streams / 1000,
        envoy_kb_per_stream=(envoy_most - envoy) / streams / 1000,
        overflows={name: count for name, count in (await rig.envoy_stats(OVERFLOWS)).items() if count},
        left_in_flight=await none_left(rig),
        completed=outcome.completed,
        errors=outcome.errors,
        timeouts=outcome.timeouts,
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


async def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.held")
    parser.add_argument("--streams", type=int, default=3000)
    arguments = parser.parse_args()
    raise_open_files()
    with tempfile.TemporaryDirectory() as directory:
        async with Rig(Variant("held", limits="valkey"), Path(directory)) as rig:
            await warm_up(rig, WARM_UP_REQUESTS)
            held = await hold(rig, arguments.streams, STARTS_PER_SECOND, HOLD_SECONDS)
    lines = promises(held)
    console, about = Console(width=120), machine()
    console.print(f"{about['cpu']}, {about['cpus']} CPUs, Python {about['python']}; {held.streams} streams")
    console.print(promise_table(lines))
    console.print(f"errors: {held.errors or 'none'}; Envoy's memory per stream: {held.envoy_kb_per_stream:.0f} KB")
    load = {"streams": arguments.streams, "starts_per_second": STARTS_PER_SECOND}
    write(Result(name="held", machine=machine(), load=load, repeats=1, lines=lines, series=asdict(held)), today())
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
