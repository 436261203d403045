"""What `prefix-cache-and-load` promises, measured on the medians of all seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Line
from benchmarks.routing.scenarios import MOONCAKE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.routing.outcome import Numbers

OURS, RANDOM, LEAST = "prefix-cache-and-load", "random", "least-request"
MEAN, P99, FAST = "TTFT mean", "TTFT p99", "fast pods' share"
FAST_TOLERANCE = 0.15
"""Below full load the pod that answers first is more often a fast one than its speed alone would make it."""


def promises(numbers: Numbers) -> list[Line]:
    """Those whose strategies and workloads were measured."""
    if OURS not in numbers.strategies:
        return []
    return [*_against_random(numbers), *_tails(numbers), *_fast_share(numbers), *_against_least_request(numbers)]


def _against_random(numbers: Numbers) -> Iterator[Line]:
    if RANDOM not in numbers.strategies:
        return
    for workload in numbers.workloads:
        if workload.startswith(MOONCAKE) or workload == "chats":
            yield Line(f"{workload}: mean TTFT / random's", numbers.ratio(workload, OURS, RANDOM, MEAN), 0.5)


def _tails(numbers: Numbers) -> Iterator[Line]:
    for workload in numbers.workloads:
        best = numbers.best(workload, P99)[0]
        yield Line(f"{workload}: p99 TTFT / the best of all", numbers.ratio(workload, OURS, best, P99), 1.05)


def _fast_share(numbers: Numbers) -> Iterator[Line]:
    for workload in numbers.workloads:
        share = numbers(workload, OURS, FAST)
        if share is not None:
            yield Line(
                f"{workload}: fast pods' work, off their share by speed", round(abs(share - 1.0), 4), FAST_TOLERANCE
            )


def _against_least_request(numbers: Numbers) -> Iterator[Line]:
    if LEAST not in numbers.strategies:
        return
    for workload in numbers.result.load["unshared"]:
        yield Line(f"{workload}: mean TTFT / least-request's", numbers.ratio(workload, OURS, LEAST, MEAN), 1.03)
