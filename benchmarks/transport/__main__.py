"""`python -m benchmarks.transport`: a bare ext_proc echo behind a real Envoy, on our transport and on grpc.aio.

Per request two messages (headers, buffered body), parsed and answered; no decision at all, so what is measured is the
transport. CPU is of the plugin's and of Envoy's process, as the kernel says. One machine runs client, Envoy and plugin,
so requests per second compare the two and promise nothing. Then, without Envoy, what our transport keeps in memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import uvloop
from rich.table import Table

from benchmarks.procfs import cpu_seconds, raise_open_files
from benchmarks.results import Figure, FigureSpread, Line, Result, machine
from benchmarks.running import conclude, options, progress
from benchmarks.transport import keeping
from benchmarks.transport.client import Load
from benchmarks.transport.envoy import envoy_config
from benchmarks.transport.serving import BODIES_BYTES, GRPCIO, NATIVE, TRANSPORTS, echo_command, process
from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.envoy_config.process import envoy_binary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.transport.keeping import Kept

REPEATS = 2
UNITS = {"per_second": "1/s", "p50_ms": "ms", "plugin_us": "us", "envoy_us": "us"}
AT_MOST_RATIO = 1 / 8
AT_MOST_KIB = 10.0
AT_MOST_GROWTH_PERCENT = 5.0


class Run(NamedTuple):
    """One run."""

    per_second: float
    p50_ms: float
    plugin_us: float
    envoy_us: float


Runs = dict[tuple[int, str], list[Run]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = options("transport", "A bare echo on our transport and on grpc.aio.")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--held", type=int, default=10_000, help="streams that are held open")
    parser.add_argument("--calls", type=int, default=200_000, help="after which memory must be as before")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seconds, arguments.held, arguments.calls = 0.3, 500, 2000
    raise_open_files()
    repeats = 1 if arguments.quick else REPEATS
    runs: Runs = defaultdict(list)
    with progress() as bar:
        task = bar.add_task("transport", total=repeats * len(BODIES_BYTES) * len(TRANSPORTS) + 1)
        for _ in range(repeats):
            for body_bytes in BODIES_BYTES:
                for name in TRANSPORTS:
                    one = uvloop.run(measure(name, body_bytes, arguments.connections, arguments.seconds))
                    runs[body_bytes, name].append(one)
                    bar.advance(task)
        kept = uvloop.run(keeping.measure(arguments.held, arguments.calls))
    load = {name: getattr(arguments, name) for name in ("connections", "seconds", "held", "calls")}
    return conclude(as_result(runs, kept, load, repeats), arguments.out, [table(runs)], quick=arguments.quick)


async def measure(transport: str, body_bytes: int, connections: int, seconds: float) -> Run:
    """Starts everything, warms up, and runs once; raises RuntimeError for any answer but 200."""
    ports = Ports(usual=False)
    gateway, plugin_port, admin = ports.pick(0), ports.pick(0), ports.pick(0)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "envoy.json"
        config.write_text(json.dumps(envoy_config(gateway, plugin_port, admin)))
        envoy_argv = [envoy_binary(), "-c", str(config), "--concurrency", "2", "--disable-hot-restart", "-l", "error"]
        plugin_argv = echo_command(transport, plugin_port)
        async with process(plugin_argv, plugin_port) as plugin, process(envoy_argv, gateway) as envoy:
            load = Load(gateway, body_bytes, connections)
            await load.run(min(1.0, seconds))
            before = cpu_seconds(plugin), cpu_seconds(envoy)
            started = time.perf_counter()
            latencies = await load.run(seconds)
            elapsed = time.perf_counter() - started
            used = cpu_seconds(plugin) - before[0], cpu_seconds(envoy) - before[1]
    count = len(latencies)
    return Run(count / elapsed, statistics.median(latencies) * 1e3, used[0] / count * 1e6, used[1] / count * 1e6)


def as_result(runs: Runs, kept: Kept, load: dict[str, float], repeats: int) -> Result:
    """In the common form."""
    figures = [
        Figure(
            f"{body_bytes} B/{name}/{what}",
            unit,
            tuple(round(getattr(one, what), 2) for one in several),
            "higher" if what == "per_second" else "lower",
        )
        for (body_bytes, name), several in runs.items()
        for what, unit in UNITS.items()
    ]
    figures.append(Figure("memory/held stream", "KiB", (round(kept.kib_per_held_stream, 2),)))
    growth = (kept.mib_after / kept.mib_before - 1) * 100
    figures.append(Figure("memory/growth over calls", "%", (round(growth, 2),)))
    ratios = [ratio(runs, body_bytes) for body_bytes in BODIES_BYTES]
    return Result(
        name="transport",
        machine=machine(),
        load=load,
        repeats=repeats,
        figures=figures,
        lines=[
            Line("echo CPU, our transport / grpc.aio", max(ratios), AT_MOST_RATIO),
            Line("memory of a held stream", kept.kib_per_held_stream, AT_MOST_KIB, "KiB"),
            Line("growth of memory over calls", growth, AT_MOST_GROWTH_PERCENT, "%"),
        ],
        series={"mib_before": kept.mib_before, "mib_after": kept.mib_after},
    )


def ratio(runs: Runs, body_bytes: int) -> float:
    """Median over repeats of our CPU over grpc.aio's in the same repeat."""
    pairs = zip(runs[body_bytes, NATIVE], runs[body_bytes, GRPCIO], strict=True)
    return statistics.median(ours.plugin_us / theirs.plugin_us for ours, theirs in pairs)


def table(runs: Runs) -> Table:
    """For the terminal."""
    table = Table("body", "transport", "requests/s", "p50 ms", "plugin us/request", "Envoy us/request", show_edge=False)
    for (body_bytes, name), several in runs.items():
        digits = zip(UNITS, (0, 2, 1, 1), strict=True)
        cells = [FigureSpread.of([getattr(one, what) for one in several]).show(count) for what, count in digits]
        table.add_row(f"{body_bytes} B", name, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
