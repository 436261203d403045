"""`python -m benchmarks.virtual`: every strategy under every workload, in virtual time, as tables."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.virtual import workloads
from benchmarks.virtual.cluster import equal_pods, run
from routing.policies import all_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.virtual.report import Report, Times
    from benchmarks.virtual.workloads import Arrival
    from simulator import EngineConfig


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload, and the pods that it meets."""

    title: str
    workload: Sequence[Arrival]
    pods: Sequence[EngineConfig]


COLUMNS: dict[str, Callable[[Report], str]] = {
    "TTFT mean, p50, p99 (s)": lambda report: _seconds(report.ttft),
    "end to end (s)": lambda report: _seconds(report.duration),
    "token hits": lambda report: f"{report.token_hit_ratio:.1%}",
    "skew: requests": lambda report: f"{report.request_skew:.2f}",
    "prefill": lambda report: f"{report.prefill_skew:.2f}",
    "refused": lambda report: str(report.refused),
}


def main() -> None:
    """Prints one table per workload."""
    arguments = _arguments()
    strategies, scenarios = arguments.strategies.split(","), _scenarios(arguments.trace)
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(scenarios) * len(strategies))
        for scenario in scenarios:
            reports = {}
            for strategy in strategies:
                progress.update(task, description=strategy)
                reports[strategy] = run(scenario.workload, strategy, scenario.pods, arguments.seed)
                progress.advance(task)
            progress.console.print(_table(scenario, reports))


def _arguments() -> argparse.Namespace:
    names = ",".join(all_policies(lambda: 0.0, np.random.default_rng()))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual", description=__doc__)
    parser.add_argument("--trace", type=Path, help="a file in the format of Mooncake's traces, in place of the others")
    parser.add_argument("--strategies", default=names, help="names with commas between them (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _scenarios(trace: Path | None) -> list[Scenario]:
    pods = equal_pods(8)
    if trace is not None:
        return [Scenario(f"{trace.name}, 8 pods of 2,048,000 tokens", workloads.mooncake(trace), equal_pods(8, 4000))]
    speeds = [config.at_speed(2.0) if number < 4 else config for number, config in enumerate(pods)]
    return [
        Scenario("one system prompt, 8 pods", workloads.shared_system_prompt(2000, 40.0, documents=0), pods),
        Scenario(
            "one system prompt, 64 documents, 8 pods of 81,920 tokens",
            workloads.shared_system_prompt(2000, 30.0),
            equal_pods(8, 160),
        ),
        Scenario("chats of 6 turns, 8 pods", workloads.chats(400, 4.0), pods),
        Scenario("nothing shared, 8 pods", workloads.unshared(2000, 9.0), pods),
        Scenario("nothing shared, 4 of 8 pods twice as fast", workloads.unshared(2000, 13.0), speeds),
        Scenario("64 different prompts at once, 8 pods", workloads.burst(64), pods),
        Scenario("a flooding and a light user, 2 pods", workloads.flood_and_light(60.0, 9.0, 0.5), equal_pods(2)),
    ]


def _table(scenario: Scenario, reports: dict[str, Report]) -> Table:
    columns, users = dict(COLUMNS), {arrival.user for arrival in scenario.workload}
    if 1 < len(users) <= 2:
        for user in sorted(users):
            columns[f"p50 TTFT, {user}"] = partial(_median_of, user)
    table = Table(
        "strategy", *columns, title=f"{scenario.title}, {len(scenario.workload)} requests", title_justify="left"
    )
    for strategy, report in reports.items():
        table.add_row(strategy, *(cell(report) for cell in columns.values()))
    return table


def _median_of(user: str, report: Report) -> str:
    return f"{report.ttft_by_user[user].p50:.2f}"


def _seconds(times: Times) -> str:
    return f"{times.mean:.2f}  {times.p50:.2f}  {times.p99:.2f}"


if __name__ == "__main__":
    main()
