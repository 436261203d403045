"""From rounds to a result, and its tables for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.overhead.promises import promises
from benchmarks.overhead.variants import ALONE
from benchmarks.results import Figure, FigureSpread, Result, machine
from gateway_plugin.tools.bench.plots import distribution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.overhead.measuring import Measured, Round
    from gateway_plugin.tools.bench.results import Better

PER_SECOND, ENVOY, PLUGIN, CLIENT = "requests per second", "Envoy CPU", "plugin CPU", "client CPU"
P50, P99 = "TTFB p50", "TTFB p99"
ADDED_P50, ADDED_P99 = "added TTFB p50", "added TTFB p99"
STEADY_TTFB, IDLE = "steady TTFB ms by quantile", "idle CPU ms per second, Envoy and plugin"
POINTS = 80


def as_result(measured: Measured, load: object, repeats: int) -> Result:
    """In the common form."""
    curves = {
        name: [round(value, 3) for value in distribution(values, POINTS)[0]]
        for name, values in measured.steady_ttfb_ms.items()
    }
    idle = {name: [round(value, 2) for value in pair] for name, pair in measured.idle_ms.items()}
    return Result(
        name="overhead",
        machine=machine(),
        load=load,
        repeats=repeats,
        figures=list(figures(measured)),
        lines=promises(measured),
        errors=dict(measured.errors),
        timeouts=measured.timeouts,
        series={STEADY_TTFB: curves, IDLE: idle},
    )


def figures(measured: Measured) -> Iterator[Figure]:
    """All, cell by cell; only Envoy alone has absolute times, as the others have their difference to it."""
    for path, subjects in measured.rounds.items():
        alone = subjects.get(ALONE, [])
        for subject, rounds in subjects.items():
            where = f"{path}/{subject}"
            yield figure(f"{where}/{PER_SECOND}", "1/s", [one.per_second for one in rounds], better="higher")
            yield figure(f"{where}/{ENVOY}", "us", [one.envoy_us for one in rounds])
            yield figure(f"{where}/{PLUGIN}", "us", [one.plugin_us for one in rounds])
            if subject == ALONE:
                yield figure(f"{where}/{CLIENT}", "us", [one.client_us for one in rounds])
                yield figure(f"{where}/{P50}", "ms", [one.ttfb_p50_ms for one in rounds])
                yield figure(f"{where}/{P99}", "ms", [one.ttfb_p99_ms for one in rounds])
            elif alone:
                yield figure(f"{where}/{ADDED_P50}", "ms", added([one.ttfb_p50_ms for one in rounds], alone, 50))
                yield figure(f"{where}/{ADDED_P99}", "ms", added([one.ttfb_p99_ms for one in rounds], alone, 99))


def added(values: Sequence[float], alone: Sequence[Round], percent: int) -> list[float]:
    """Beyond Envoy alone in the same repeat."""
    base = [one.ttfb_p50_ms if percent == 50 else one.ttfb_p99_ms for one in alone]
    return [value - below for value, below in zip(values, base, strict=False)]


def figure(path: str, unit: str, values: Sequence[float], better: Better = "lower") -> Figure:
    """With four digits, as no more are known."""
    return Figure(path, unit, tuple(four_digits(value) for value in values), better)


def four_digits(value: float) -> float | None:
    """None where nothing was measured."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def tables(measured: Measured) -> Iterable[Table]:
    """One for each cell."""
    for path, subjects in measured.rounds.items():
        alone = subjects.get(ALONE, [])
        head = ("", "req/s", "added p50 ms", "added p99 ms", "Envoy us", "plugin us", "client us")
        table = Table(*head, title=path, show_edge=False)
        for subject, rounds in subjects.items():
            spreads = (
                (FigureSpread.of([one.per_second for one in rounds]), 0),
                (FigureSpread.of(added([one.ttfb_p50_ms for one in rounds], alone, 50)), 2),
                (FigureSpread.of(added([one.ttfb_p99_ms for one in rounds], alone, 99)), 2),
                (FigureSpread.of([one.envoy_us for one in rounds]), 0),
                (FigureSpread.of([one.plugin_us for one in rounds]), 0),
                (FigureSpread.of([one.client_us for one in rounds]), 0),
            )
            table.add_row(subject, *(spread.show(digits) for spread, digits in spreads))
        yield table
