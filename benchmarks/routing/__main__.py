"""`python -m benchmarks.routing`: every strategy under every workload, in virtual time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.results import today, write
from benchmarks.routing.figures import KINDS
from benchmarks.routing.measuring import Task, measure
from benchmarks.routing.outcome import CDF_STRATEGIES, Numbers, load_curves, result
from benchmarks.routing.promises import promises
from benchmarks.routing.scenarios import all_scenarios, rising_load
from benchmarks.routing.section import show
from benchmarks.table import promise_table
from gateway_plugin.tools.bench.traces import TraceError, read_trace
from routing.strategies.every import all_policies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Result

QUICK_SIZE = 0.03
# On a terminal; the report shows all.
_SHOWN = ("TTFT mean", "TTFT p50", "TTFT p99", "token hits", "prefill skew", "fairness", "goodput", "refused")
QUICK_STRATEGIES = ("random", "least-request", "prefix-cache-and-load")


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints, writes `routing.json`."""
    arguments = _arguments(words)
    console = Console()
    measured = _measure(arguments, console)
    for table in _tables(measured):
        console.print(table)
    console.print(promise_table(measured.lines))
    console.print(f"{write(measured, arguments.out)}: {measured.trouble}")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    names = list(all_policies(lambda: 0.0, np.random.default_rng()))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument(
        "--trace", type=Path, action="append", default=[], help="Mooncake's .jsonl or Azure's .csv; may be repeated"
    )
    parser.add_argument("--strategies", help=f"names with commas between them (default: all): {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=today())
    parser.add_argument("--quick", action="store_true", help="a smoke run: little traffic, three strategies, one seed")
    arguments = parser.parse_args(words)
    chosen = arguments.strategies.split(",") if arguments.strategies else names
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"--strategies: {unknown[0]!r} is none of {', '.join(names)}")
    try:
        for trace in arguments.trace:
            read_trace(trace)
    except TraceError as error:
        parser.error(f"--trace: {error}")
    if arguments.seeds < 1:
        parser.error(f"--seeds: {arguments.seeds} is less than 1")
    arguments.strategies = list(QUICK_STRATEGIES) if arguments.quick and not arguments.strategies else chosen
    arguments.seeds = 1 if arguments.quick else arguments.seeds
    return arguments


def _measure(arguments: argparse.Namespace, console: Console) -> Result:
    size = QUICK_SIZE if arguments.quick else 1.0
    scenarios, rising = all_scenarios(tuple(arguments.trace), size), rising_load(size)
    curves = [strategy for strategy in arguments.strategies if strategy in CDF_STRATEGIES]
    tasks = [
        Task(scenario, strategy, seed)
        for scenario in scenarios
        for strategy in arguments.strategies
        for seed in range(arguments.seeds)
    ]
    tasks += [Task(scenario, strategy, 0) for scenario in rising.values() for strategy in curves]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("routing", total=len(tasks))
        outcomes = measure(tasks, lambda: progress.advance(bar), processes=0 if arguments.quick else None)
    measured = result(scenarios, arguments.strategies, arguments.seeds, outcomes)
    measured.series["load"] = load_curves(outcomes, rising, curves)
    measured.lines = promises(Numbers.of(measured))
    return measured


def _tables(measured: Result) -> list[Table]:
    numbers = Numbers.of(measured)
    tables = []
    for workload, title in numbers.workloads.items():
        table = Table("strategy", title=f"{workload}: {title}", title_justify="left")
        for kind in _SHOWN:
            table.add_column(f"{kind} {KINDS[kind].unit}".strip(), justify="right")
        for strategy in numbers.strategies:
            table.add_row(strategy, *(show(numbers(workload, strategy, kind), kind) for kind in _SHOWN))
        tables.append(table)
    return tables


if __name__ == "__main__":
    main()
