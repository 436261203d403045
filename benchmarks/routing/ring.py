"""`python -m benchmarks.routing.ring`: this gateway's strategies and other products', on every workload of the ring.

    python -m benchmarks.routing.ring                                 short: one seed, 500 requests a run
    python -m benchmarks.routing.ring --seeds 10 --requests 2000      what a claim should rest on; hours
    python -m benchmarks.routing.ring --works chats,azure --loads .9 --settings 1
    python -m benchmarks.routing.ring --into benchmarks/results/2026-11-27/ring.json --strategies prefix-cache-and-load
                                                                      its conditions and seeds, these strategies anew

Every workload x load (0.7, 0.9, 0.95 of its capacity) x replicas (1, 4 that share, 4 that do not). Prints a table of
each, and who loses; writes `ring.json`, from which `benchmarks.routing.ring_page` makes docs/routing-contests.md. The
seeds begin at 1,001: those of development are 1 to 9.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.results import machine, today
from benchmarks.routing.contest import LOADS, SETTINGS, Contest, hold
from benchmarks.routing.figures import KINDS
from benchmarks.routing.figures import figures as figures_of
from benchmarks.routing.peers.every import PEERS
from benchmarks.routing.verdicts import Cells, verdicts
from benchmarks.routing.works import WORKS

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_SEED = 1001
OWN = ("prefix-cache-and-load", "prefix-cache", "least-request", "least-latency", "power-of-two", "session-affinity")
STRATEGIES = (*OWN, *(name for name in PEERS if name != "peer: least-request"))
TOLD = ("TTFT mean", "TTFT p50", "TTFT p99", "end to end p99", "token hits", "request skew")


def condition(contest: Contest) -> str:
    """Workload, load and replicas, as one name."""
    return f"{contest.work}/{contest.load:g}/{contest.setting}"


def measured(contest: Contest) -> tuple[str, str, dict[str, float]]:
    """One run: its condition, its strategy, its numbers."""
    figures = figures_of(hold(contest))
    return condition(contest), contest.strategy, {kind: float(f"{figures[kind]:.5g}") for kind in TOLD}


def measure(contests: Sequence[Contest], console: Console, processes: int) -> Cells:
    """Runs all; of each cell the numbers stand in the order of the seeds."""
    cells: Cells = {}
    context = multiprocessing.get_context("spawn")  # forked children would inherit the progress bar's thread
    with ProcessPoolExecutor(processes, mp_context=context) as pool, Progress(console=console, transient=True) as bar:
        task = bar.add_task("ring", total=len(contests))
        for where, strategy, numbers in pool.map(measured, contests, chunksize=len(STRATEGIES)):
            kinds = cells.setdefault(where, {}).setdefault(strategy, {})
            for kind, number in numbers.items():
                kinds.setdefault(kind, []).append(number)
            bar.advance(task)
    return cells


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints, writes."""
    arguments = _arguments(words)
    if arguments.into is not None:
        _measure_into(arguments)
        return
    contests = [
        Contest(work, load, setting, strategy, seed, arguments.requests)
        for work in arguments.works
        for load in arguments.loads
        for setting in arguments.settings
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for strategy in arguments.strategies
    ]
    console = Console(width=150)
    cells = measure(contests, console, arguments.processes)
    _tell(cells, console)
    written = {
        "machine": machine(),
        "seeds": list(range(arguments.first_seed, arguments.first_seed + arguments.seeds)),
        "requests": arguments.requests,
        "titles": {name: WORKS[name].title for name in arguments.works},
        "cells": cells,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "ring.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=0))
    console.print(path)


def _tell(cells: Cells, console: Console) -> None:
    for where, strategies in cells.items():
        console.print(_table(where, strategies))
    for verdict in verdicts(cells):
        if verdict.is_lost:
            console.print(f"LOST {verdict}")


def _measure_into(arguments: argparse.Namespace) -> None:
    """Some strategies anew, on the conditions and seeds of a file; what it says of the others stays."""
    console, written = Console(width=150), msgspec.json.decode(arguments.into.read_bytes())
    contests = [
        Contest(work, float(load), setting, strategy, seed, written["requests"])
        for work, load, setting in (where.split("/") for where in written["cells"])
        if work in arguments.works
        for seed in written["seeds"]
        for strategy in arguments.strategies
    ]
    for where, strategies in measure(contests, console, arguments.processes).items():
        written["cells"][where] |= strategies
    _tell(written["cells"], console)
    written["titles"] |= {name: WORKS[name].title for name in written["titles"]}
    arguments.into.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=0))
    console.print(arguments.into)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.ring", description=__doc__)
    parser.add_argument("--works", default=",".join(WORKS), help="names with commas between them")
    parser.add_argument("--loads", default=",".join(f"{load:g}" for load in LOADS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=today())
    parser.add_argument("--into", type=Path, help="a file of the ring, in which --strategies are measured anew")
    arguments = parser.parse_args(words)
    for name, known in (("works", WORKS), ("settings", SETTINGS), ("strategies", dict.fromkeys((*STRATEGIES, *PEERS)))):
        chosen = [each.strip() for each in getattr(arguments, name).split(",")]
        if unknown := [each for each in chosen if each not in known]:
            parser.error(f"--{name}: {unknown[0]!r} is none of {', '.join(known)}")
        setattr(arguments, name, chosen)
    arguments.loads = [float(load) for load in arguments.loads.split(",")]
    if min(arguments.seeds, arguments.requests, arguments.processes) < 1:
        parser.error("--seeds, --requests and --processes are at least 1")
    return arguments


def _table(where: str, strategies: dict[str, dict[str, list[float]]]) -> Table:
    table = Table("strategy", title=where, title_justify="left")
    for kind in TOLD:
        table.add_column(f"{kind} {KINDS[kind].unit}", justify="right")
    for strategy, kinds in strategies.items():
        means = (sum(kinds[kind]) / len(kinds[kind]) for kind in TOLD)
        table.add_row(strategy, *(f"{mean:,.{KINDS[kind].digits}f}" for kind, mean in zip(TOLD, means, strict=True)))
    return table


if __name__ == "__main__":
    main()
