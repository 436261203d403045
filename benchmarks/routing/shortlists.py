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

from benchmarks.routing import workloads
from benchmarks.routing.cluster import equal_pods, run
from routing.shortlist import MAX_PRICED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.routing.report import Times
    from benchmarks.routing.workloads import Arrival

STRATEGY = "prefix-cache-and-load"
_LINE = "{:>6}  {:<10} {:>7} {:>10} {:>9}"


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


def ratios(name: str, pods: int, seconds: float, seed: int) -> tuple[float, float]:
    """Of mean and p99."""
    arrivals = WORKLOADS[name](pods, seconds, seed)
    short, whole = (ttft(arrivals, pods, seed, all_priced=priced) for priced in (False, True))
    return short.mean / whole.mean, short.p99 / whole.p99


def rows(pods: int, name: str, seconds: float, seeds: int) -> Iterator[tuple[str, ...]]:
    """One a seed, then their medians."""
    found: list[tuple[float, float]] = []
    for seed in range(100, 100 + seeds):
        found.append(ratios(name, pods, seconds, seed))
        yield (str(pods), name, str(seed), *(f"{ratio:.3f}" for ratio in found[-1]))
    yield (str(pods), name, "median", *(f"{median(each):.3f}" for each in zip(*found, strict=True)))


def main() -> None:
    """Prints each row as it comes: a row of 1,000 pods takes minutes, and whoever stops the run keeps what it found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.shortlists")
    parser.add_argument("pods", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("shortlist / all")
    print(_LINE.format("pods", "workload", "seed", "mean TTFT", "p99 TTFT"), flush=True)
    for pods in arguments.pods:
        for name in WORKLOADS:
            for row in rows(pods, name, arguments.seconds, arguments.seeds):
                print(_LINE.format(*row), flush=True)


if __name__ == "__main__":
    main()
