"""`python -m benchmarks.routing.shortlists [PODS...]`: what is lost by pricing a shortlist instead of all pods.

The same conversations and documents, at the same load per pod, go through prefix-cache-and-load twice: once as it is,
and once pricing every pod. Printed are the ratios of mean and p99 TTFT, shortlist / all; 1 is nothing lost.
"""

from __future__ import annotations

import argparse
import math
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from benchmarks.routing import workloads
from benchmarks.routing.cluster import equal_pods, run
from routing.shortlist import MAX_PRICED

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.report import Times
    from benchmarks.routing.workloads import Arrival

STRATEGY = "prefix-cache-and-load"


def _chats(pods: int, seconds: float, seed: int) -> list[Arrival]:
    return workloads.chats(int(pods * seconds), 0.9 * pods, seed=seed)


def _documents(pods: int, seconds: float, seed: int) -> list[Arrival]:
    return workloads.shared_system_prompt(int(3.5 * pods * seconds), 3.5 * pods, documents=8 * pods, seed=seed)


WORKLOADS: dict[str, Callable[[int, float, int], list[Arrival]]] = {"chats": _chats, "documents": _documents}


def ttft(arrivals: list[Arrival], pods: int, seed: int, *, all_priced: bool) -> Times:
    """Times to first token of one run."""
    most = math.inf if all_priced else MAX_PRICED
    with patch("routing.router.MAX_PRICED", most):
        return run(arrivals, STRATEGY, equal_pods(pods, 256), seed).ttft


def ratios(name: str, pods: int, seconds: float, seeds: int) -> tuple[list[float], list[float]]:
    """Of mean and p99, by seed."""
    means, tails = [], []
    for seed in range(100, 100 + seeds):
        arrivals = WORKLOADS[name](pods, seconds, seed)
        short, whole = (ttft(arrivals, pods, seed, all_priced=priced) for priced in (False, True))
        means.append(short.mean / whole.mean)
        tails.append(short.p99 / whole.p99)
    return means, tails


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.shortlists")
    parser.add_argument("pods", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("pods", "workload", "mean TTFT", "p99 TTFT", "p99 by seed", title="shortlist / all", show_edge=False)
    for pods in arguments.pods:
        for name in WORKLOADS:
            means, tails = ratios(name, pods, arguments.seconds, arguments.seeds)
            by_seed = " ".join(f"{tail:.3f}" for tail in tails)
            table.add_row(str(pods), name, f"{median(means):.3f}", f"{median(tails):.3f}", by_seed)
    Console().print(table)


if __name__ == "__main__":
    main()
