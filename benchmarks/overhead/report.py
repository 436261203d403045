"""Tables, promises, and the plot."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from benchmarks.overhead.variants import ALONE, ECHO, FOLLOWED, FOLLOWED_GRPCIO, FREE, LIMITED, LUA, WITHOUT_LUA
from benchmarks.results import Line, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from benchmarks.overhead.measuring import Measured, Round

# Readable on white and on black.
_GREY = "#808080"
_COLOURS = (_GREY, "#56B4E9", "#E69F00", "#009E73", "#B59F00", "#0072B2", "#D55E00", "#CC79A7", "#9467BD")


def ratio(measured: Measured, load: str, over: str, under: str, read: Callable[[Round], float]) -> float:
    """Median over rounds of one variant's figure over the other's in the same round."""
    pairs = zip(measured.figure(over, load, read), measured.figure(under, load, read), strict=True)
    return statistics.median(above / below for above, below in pairs)


def added(measured: Measured, variant: str, quantile: float) -> float:
    """Milliseconds of a quantile of all paced requests, beyond Envoy alone."""
    with_it, alone = (np.quantile(measured.paced_ttfb_ms[name], quantile) for name in (variant, ALONE))
    return float(with_it - alone)


def promises(measured: Measured) -> list[Line]:
    """What is promised of the gateway, and what was measured."""

    def plugin(one: Round) -> float:
        return one.plugin_us

    def envoy(one: Round) -> float:
        return one.envoy_us

    def both(one: Round) -> float:
        return one.envoy_us + one.plugin_us

    slowest = max((FREE, LIMITED), key=lambda name: added(measured, name, 0.99))
    lines = [
        Line("streams: plugin CPU, access_log / ext_proc", ratio(measured, "stream", LIMITED, FOLLOWED, plugin), 0.1),
        Line(
            "streams: Envoy + plugin CPU, access_log / ext_proc",
            ratio(measured, "stream", LIMITED, FOLLOWED, both),
            0.25,
        ),
        Line(
            "streams: Envoy CPU of the chain, with Lua / without",
            ratio(measured, "stream", FREE, WITHOUT_LUA, envoy),
            1.1,
        ),
        Line("streams: CPU of Envoy alone, with Lua / without", ratio(measured, "stream", LUA, ALONE, envoy), 1.1),
        Line("JSON: plugin CPU, no limits / bare echo", ratio(measured, "json", FREE, ECHO, plugin), 1.5),
        Line("JSON: plugin CPU, limits on Valkey / bare echo", ratio(measured, "json", LIMITED, ECHO, plugin), 2.0),
        Line(
            "added time to first byte at 200/s, median",
            max(added(measured, n, 0.5) for n in (FREE, LIMITED)),
            2.0,
            "ms",
        ),
        Line("added time to first byte at 200/s, p99", added(measured, slowest, 0.99), 8.0, "ms"),
    ]
    if FOLLOWED_GRPCIO in measured.rounds:
        peers = [
            Line(f"{line.what} on grpc.aio", ratio(measured, "stream", LIMITED, FOLLOWED_GRPCIO, read), line.at_most)
            for line, read in zip(lines, (plugin, both), strict=False)
        ]
        lines[2:2] = peers
    return lines


def tables(measured: Measured) -> Iterable[Table]:
    """One for each load."""
    titles = {
        "json": "1.2 KB JSON, 32 connections",
        "stream": "128 chunks in 128 writes, 32 connections",
        "paced": "1.2 KB JSON at 200/s",
    }
    for load, title in titles.items():
        table = Table("", "req/s", "TTFB p50 ms", "TTFB p99 ms", "Envoy us", "plugin us", title=title, show_edge=False)
        for variant in measured.rounds:
            table.add_row(variant, *(spread.show(digits) for spread, digits in row(measured, variant, load)))
        yield table


def row(measured: Measured, variant: str, load: str) -> list[tuple[Spread, int]]:
    """The figures of a line, with their digits."""
    read: list[tuple[Callable[[Round], float], int]] = [
        (lambda one: one.per_second, 0),
        (lambda one: one.ttfb_p50_ms, 2),
        (lambda one: one.ttfb_p99_ms, 2),
        (lambda one: one.envoy_us, 0),
        (lambda one: one.plugin_us, 0),
    ]
    return [(Spread.of(measured.figure(variant, load, one)), digits) for one, digits in read]


def as_values(measured: Measured) -> dict[str, Any]:
    """For the file of results."""
    rounds = {
        variant: {load: [asdict(one) for one in several] for load, several in by_load.items()}
        for variant, by_load in measured.rounds.items()
    }
    return {"rounds": rounds, "errors": dict(measured.errors), "timeouts": measured.timeouts}


def plot(measured: Measured, path: Path) -> None:
    """The distribution of the time to first byte at 200/s, as SVG on no background: for light pages and dark ones."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a second to import

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for (variant, values), colour in zip(measured.paced_ttfb_ms.items(), _COLOURS, strict=False):
        ordered = np.sort(values)
        axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), color=colour, label=variant, linewidth=1.8)
    axes.set(xscale="log", ylim=(0, 1), xlabel="time to first byte, ms", ylabel="share of requests")
    axes.xaxis.label.set_color(_GREY)
    axes.yaxis.label.set_color(_GREY)
    axes.tick_params(colors=_GREY, which="both")
    axes.grid(color=_GREY, alpha=0.25, which="both", linewidth=0.5)
    for spine in axes.spines.values():
        spine.set_color(_GREY)
    axes.legend(frameon=False, labelcolor=_GREY, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})
