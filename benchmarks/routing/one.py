"""`python -m benchmarks.routing.one WORKLOAD`: one workload of the ring, some strategies, and who wins, in a minute.

    python -m benchmarks.routing.one slowed-pod
    python -m benchmarks.routing.one documents --setting "4 not" --load .95 --seeds 1,2,3
    python -m benchmarks.routing.one list

Numbers are means over the seeds; behind the slash stands the ratio to the best of the others. The seeds of development
are 1 to 9: the report's are above 1,000 (see `benchmarks.routing`).
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.routing.contest import SETTINGS, Contest, hold
from benchmarks.routing.figures import figures
from benchmarks.routing.peers.every import PEERS
from benchmarks.routing.works import WORKS

if TYPE_CHECKING:
    from benchmarks.routing.figures import Figures

USUAL = (
    "prefix-cache-and-load",
    "least-request",
    "least-latency",
    "prefix-cache",
    *(name for name in PEERS if name not in ("peer: least-request", "clairvoyant: first tokens")),
)
KINDS = ("TTFT mean", "TTFT p50", "TTFT p99", "end to end mean", "end to end p99", "token hits", "request skew")
_JUDGED = ("TTFT mean", "TTFT p99", "end to end p99")


def measured(contest: Contest) -> Figures:
    """In a process of its own."""
    return figures(hold(contest))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.one", description=__doc__)
    parser.add_argument("work", choices=[*WORKS, "list"], metavar="WORKLOAD")
    parser.add_argument("--load", type=float, default=0.9)
    parser.add_argument("--setting", choices=SETTINGS, default="1", help="replicas, and whether they share")
    parser.add_argument("--strategies", default=",".join(USUAL))
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--requests", type=int, default=1200)
    parser.add_argument("--told-live", type=float, default=0.0, help="share of first tokens told at once")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.work == "list":
        for work in WORKS.values():
            print(f"{work.name:18} {work.capacity_per_second:7.3g}  {work.title}")
        return
    _show(arguments)


def _show(arguments: argparse.Namespace) -> None:
    strategies = [name.strip() for name in arguments.strategies.split(",")]
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    contests = [
        Contest(arguments.work, arguments.load, arguments.setting, name, seed, arguments.requests, arguments.told_live)
        for name in strategies
        for seed in seeds
    ]
    began = time.monotonic()
    if arguments.processes > 1:
        with ProcessPoolExecutor(arguments.processes) as pool:
            found = list(pool.map(measured, contests))
    else:
        found = list(map(measured, contests))
    means = {
        name: {kind: float(np.mean([found[i * len(seeds) + j][kind] for j in range(len(seeds))])) for kind in KINDS}
        for i, name in enumerate(strategies)
    }
    _print(arguments, means, time.monotonic() - began)


def _print(arguments: argparse.Namespace, means: dict[str, dict[str, float]], seconds: float) -> None:
    work = WORKS[arguments.work]
    title = f"{work.name}: {work.title}; load {arguments.load}, replicas {arguments.setting}, {seconds:.0f} s"
    table = Table("strategy", *KINDS, title=title, title_justify="left")
    for name, values in means.items():
        cells = []
        for kind, value in values.items():
            others = [
                each[kind] for other, each in means.items() if other != name and not other.startswith("clairvoyant")
            ]
            ratio = f" /{value / min(others):.2f}" if kind in _JUDGED and others else ""
            cells.append(f"{value:.3f}{ratio}")
        table.add_row(name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
