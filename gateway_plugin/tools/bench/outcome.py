"""Runs into the common form of results: figures with a value per repeat, promises on the measurement, curves."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway_plugin.tools.bench.plots import POINTS
from gateway_plugin.tools.bench.quantiles import Distribution
from gateway_plugin.tools.bench.results import Figure, Line, Result
from gateway_plugin.tools.bench.sample import TIMEOUT, UNFINISHED
from gateway_plugin.tools.bench.summary import METRICS, NAMELESS, Objective, Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.tools.bench.tally import Tally

LATE_AT_MOST_MS = 10.0
CPU_AT_MOST_PERCENT = 80.0
"""Of one core: a generator that is busier measures itself."""
_BINS = 100
_MAX_MESSAGE = 200


def result_of(tallies: Sequence[Tally], objective: Objective, machine: dict[str, Any], load: dict[str, Any]) -> Result:
    """All runs; repeats of a strategy side by side."""
    pods = {sample.pod for tally in tallies for sample in tally.samples if sample.pod}
    runs: dict[str, list[Summary]] = {}
    for tally in tallies:
        runs.setdefault(tally.strategy or NAMELESS, []).append(Summary(tally, objective, pods, streamed=load["stream"]))
    troubles = sum((tally.troubles for tally in tallies), Counter[str]())
    return Result(
        name="bench",
        machine=machine,
        load=load,
        repeats=max(map(len, runs.values()), default=0),
        figures=[figure for label, summaries in runs.items() for figure in _figures(label, summaries)],
        lines=[line for label, summaries in runs.items() for line in _lines(label, summaries)],
        timeouts=troubles.pop(TIMEOUT, 0),
        errors=dict(troubles),
        series={label: _series(summaries) for label, summaries in runs.items()},
    )


def _figures(label: str, summaries: list[Summary]) -> list[Figure]:
    figures = []
    for metric in METRICS:
        values = [metric.of(summary) for summary in summaries]
        if not all(math.isnan(value) for value in values):
            known = tuple(value if math.isfinite(value) else None for value in values)
            figures.append(Figure(f"{label}/{metric.name}", metric.unit, known, metric.better))
    return figures


def _lines(label: str, summaries: list[Summary]) -> list[Line]:
    late_ms = max(summary.late_p99_seconds for summary in summaries) * 1e3
    cpu = max(100 * summary.tally.cpu_seconds / (summary.tally.seconds or math.inf) for summary in summaries)
    return [
        Line(f"{label}: requests sent late, p99", _finite(late_ms), LATE_AT_MOST_MS, "ms"),
        Line(f"{label}: CPU of the generator, of one core", _finite(cpu), CPU_AT_MOST_PERCENT, "%"),
    ]


def _series(summaries: list[Summary]) -> dict[str, Any]:
    tallies = [summary.tally for summary in summaries]
    samples = [sample for tally in tallies for sample in tally.samples]
    return {
        "sent": len(samples),
        "answered": sum(len(summary.answered) for summary in summaries),
        "unfinished": sum(len(summary.unfinished) for summary in summaries),
        "tokens_estimated": sum(1 for sample in samples if sample.ok and not sample.from_usage),
        "named": dict(Counter(sample.strategy for sample in samples if sample.strategy)),
        "stopped": next((tally.stopped for tally in tallies if tally.stopped), ""),
        "messages": {kind: text[:_MAX_MESSAGE] for tally in tallies for kind, text in tally.messages.items()},
        "troubles": dict(sum((tally.troubles for tally in tallies), Counter[str]())),
        "pods": {pod: sum(summary.pods.get(pod, 0) for summary in summaries) for pod in _pods(summaries)},
        # Of the first repeat: one curve of several would not be any run's.
        "ttft_seconds": summaries[0].ttft.curve(POINTS),
        "total_seconds": summaries[0].total.curve(POINTS),
        "timeline": _timeline(summaries[0]),
    }


def _pods(summaries: list[Summary]) -> list[str]:
    """Also those that got nothing: a Counter would drop them."""
    return sorted({pod for summary in summaries for pod in summary.pods})


def _timeline(summary: Summary) -> dict[str, list[float | None]]:
    """Bins of equal time: TTFT of what was due in them, or end-to-end without streams, and how many of it failed."""
    width = max((sample.at_seconds for sample in summary.tally.samples), default=0.0) / _BINS or 1.0
    bins: dict[int, list[Any]] = {}
    for sample in summary.tally.samples:
        bins.setdefault(int(sample.at_seconds / width), []).append(sample)
    rows: list[tuple[float, float | None, float | None, int]] = []
    for index, samples in sorted(bins.items()):
        times = [each.first_seconds if summary.streamed else each.total_seconds for each in samples if each.ok]
        failed = sum(1 for each in samples if each.trouble not in {"", UNFINISHED})
        spread = Distribution([time for time in times if time is not None], failed)
        rows.append((index * width, _finite(spread.quantile(0.5)), _finite(spread.quantile(0.95)), failed))
    names = ("at_seconds", "p50_seconds", "p95_seconds", "failed")
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
