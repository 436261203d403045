"""The plots of the routing report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.scenarios import MOONCAKE
from gateway_plugin.tools.bench.plots import COLOURS, MARKERS, canvas, finish, save

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.routing.outcome import Numbers

_CDF_WORKLOADS = (MOONCAKE, f"{MOONCAKE}-like", "chats", "mixed-pods")
_HIT_WORKLOADS = (MOONCAKE, f"{MOONCAKE}-like", "documents", "chats", "agents")


def save_all(numbers: Numbers, images: Path) -> dict[str, Path]:
    """Files by what they show."""
    return {
        "Distribution of the time to first token, by workload": _ttft(numbers, images),
        "p99 time to first token against offered load": _load(numbers, images),
        "Token hit rate against skew of prefill work": _hits(numbers, images),
    }


def _ttft(numbers: Numbers, images: Path) -> Path:
    quantiles = numbers.result.series["ttft_quantiles_seconds"]
    workloads = [name for name in _CDF_WORKLOADS if name in numbers.workloads] or list(numbers.workloads)[:3]
    figure, axes = canvas(11.0, 4.0, columns=len(workloads))
    for number, (workload, axis) in enumerate(zip(workloads, axes, strict=True)):
        for strategy, seconds in quantiles[workload].items():
            axis.plot(seconds, np.linspace(0.0, 1.0, len(seconds)), color=_colour(numbers, strategy), label=strategy)
        axis.set_xscale("log")
        finish(axis, "time to first token (s)", "share of requests", workload, legend=not number)
    return save(figure, images / "routing-ttft.svg")


def _load(numbers: Numbers, images: Path) -> Path:
    curves = numbers.result.series["load"]
    figure, (axis,) = canvas()
    for strategy, seconds in curves["ttft_p99_seconds"].items():
        colour, marker = _colour(numbers, strategy), _marker(numbers, strategy)
        axis.plot(curves["requests_per_second"], seconds, label=strategy, color=colour, marker=marker)
    axis.set_yscale("log")
    finish(axis, "offered load: chats of 6 turns on 8 pods (requests/s)", "p99 time to first token (s)")
    return save(figure, images / "routing-load.svg")


def _hits(numbers: Numbers, images: Path) -> Path:
    workloads = [name for name in _HIT_WORKLOADS if name in numbers.workloads] or list(numbers.workloads)[:3]
    figure, axes = canvas(3.2 * len(workloads) + 1.0, 4.2, columns=len(workloads))
    for number, (workload, axis) in enumerate(zip(workloads, axes, strict=True)):
        for strategy in numbers.strategies:
            skew, hits = numbers(workload, strategy, "prefill skew"), numbers(workload, strategy, "token hits")
            if skew is not None and hits is not None:
                colour, marker = _colour(numbers, strategy), _marker(numbers, strategy)
                axis.plot([skew], [hits], label=strategy, color=colour, marker=marker, linestyle="")
        finish(axis, "prefill work of the busiest pod / mean", "token hit rate (%)", workload, legend=not number)
    return save(figure, images / "routing-hits.svg")


def _colour(numbers: Numbers, strategy: str) -> str:
    return COLOURS[numbers.strategies.index(strategy) % len(COLOURS)]


def _marker(numbers: Numbers, strategy: str) -> str:
    return MARKERS[numbers.strategies.index(strategy) % len(MARKERS)]
