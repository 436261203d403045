"""All strategies under all workloads, one process per core; each task is one strategy under one workload and seed."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarks.routing.cluster import run
from benchmarks.routing.figures import Figures, figures
from gateway_plugin.tools.bench.plots import distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.routing.scenarios import Scenario
    from benchmarks.routing.workloads import Arrival

CDF_POINTS = 40


@dataclass(frozen=True, slots=True)
class Task:
    """One run."""

    scenario: Scenario
    strategy: str
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `ttft_quantiles_seconds` are evenly spaced, from the least to the most."""

    figures: Figures
    ttft_quantiles_seconds: list[float]


Outcomes = dict[tuple[str, str, int], Outcome]
"""By scenario, strategy and seed."""


def measure(tasks: Iterable[Task], advance: Callable[[], None], processes: int | None = None) -> Outcomes:
    """Runs all tasks, in this process for 0 processes; `advance` is called after each."""
    outcomes: Outcomes = {}
    if processes == 0:
        for task in tasks:
            outcomes[task.scenario.name, task.strategy, task.seed] = run_task(task)
            advance()
        return outcomes
    context = multiprocessing.get_context("spawn")  # forked children would inherit the progress bar's thread
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=context) as pool:
        futures = {pool.submit(run_task, task): task for task in tasks}
        for future in as_completed(futures):
            task = futures[future]
            outcomes[task.scenario.name, task.strategy, task.seed] = future.result()
            advance()
    return outcomes


def run_task(task: Task) -> Outcome:
    """One strategy under one workload."""
    report = run(_arrivals(task.scenario, task.seed), task.strategy, task.scenario.pods, task.seed)
    quantiles, _ = distribution([each.ttft_seconds for each in report.served], CDF_POINTS)
    return Outcome(figures(report, task.scenario.fast_pods), quantiles)


@lru_cache(maxsize=4)
def _arrivals(scenario: Scenario, seed: int) -> list[Arrival]:
    return scenario.workload(seed)
