"""The section of the report: what the gateway costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.markdown import figures, how, show, table
from benchmarks.overhead.matrix import (
    BUSY,
    LARGE,
    LARGER,
    MIDDLE,
    ONE,
    PLAIN,
    SIZES,
    SLOWLY,
    SMALL,
    STEADY,
    STREAM,
    STREAMS,
    Cell,
)
from benchmarks.overhead.report import (
    ADDED_P50,
    ADDED_P99,
    CLIENT,
    ENVOY,
    IDLE,
    P50,
    P99,
    PER_SECOND,
    PLUGIN,
    STEADY_TTFB,
)
from benchmarks.overhead.variants import (
    ALONE,
    ECHO,
    FOLLOWED,
    FOLLOWED_GRPCIO,
    FREE,
    HEADER_ONLY,
    LIMITED,
    MAIN,
    NATIVE_ECHO,
)
from gateway_plugin.tools.bench import plots
from gateway_plugin.tools.envoy_config.process import WORKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.results import Result

_TEXT = Path(__file__).with_name("section.md")
_COLUMNS = ("req/s", "added p50 ms", "added p99 ms", "Envoy us", "plugin us")
_STRATEGY = "strategy "


def section(result: Result, images: Path) -> str:
    """Markdown; saves three plots."""
    plot_cpu(result, images)
    plot_steady(result, images)
    plot_sizes(result, images)
    slow = Cell(STREAM, SMALL, SLOWLY)
    return _TEXT.read_text().format(
        workers=WORKERS,
        idle=idle_ms(result, LIMITED),
        how=how(result),
        one=show(result, f"{PLAIN}/{SMALL}/{ONE}/{ALONE}/{P50}", 2),
        steady=show(result, f"{STEADY.path}/{ALONE}/{P50}", 2),
        steady99=show(result, f"{STEADY.path}/{ALONE}/{P99}", 2),
        client=show(result, f"{BUSY.path}/{ALONE}/{CLIENT}"),
        plain=small_table(result, PLAIN, STEADY),
        stream=show(result, f"{slow.path}/{ALONE}/{P50}", 2),
        stream99=show(result, f"{slow.path}/{ALONE}/{P99}", 2),
        stream_table=small_table(result, STREAM, slow),
        sizes=sizes_table(result),
        strategies=strategies_table(result),
    )


def idle_ms(result: Result, name: str) -> str:
    """CPU per second of what Envoy asks."""
    pair = result.series.get(IDLE, {}).get(name)
    return f"{pair[1]:.0f}" if pair else "-"


def subjects(result: Result, cell: Cell) -> list[str]:
    """Those that a cell was measured with, in order."""
    return [path.split("/")[3] for path in figures(result) if path.startswith(f"{cell.path}/") and path.endswith(ENVOY)]


def small_table(result: Result, response: str, paced: Cell) -> str:
    """Every subject with the small prompt, at all paces."""
    many, one = BUSY if response == PLAIN else STREAMS, Cell(response, SMALL, ONE)
    head = (
        "",
        "1 at a time: added p50 ms",
        f"{paced.pace}: added p50 ms",
        "p99 ms",
        "32 at once: req/s",
        "Envoy us",
        "plugin us",
    )
    names = [name for name in subjects(result, many) if not name.startswith(_STRATEGY)]
    rows = (
        (
            name,
            show(result, f"{one.path}/{name}/{ADDED_P50}", 2),
            show(result, f"{paced.path}/{name}/{ADDED_P50}", 2),
            show(result, f"{paced.path}/{name}/{ADDED_P99}", 2),
            show(result, f"{many.path}/{name}/{PER_SECOND}"),
            show(result, f"{many.path}/{name}/{ENVOY}"),
            show(result, f"{many.path}/{name}/{PLUGIN}"),
        )
        for name in names
    )
    return table(head, rows)


def sizes_table(result: Result) -> str:
    """The main subjects with larger prompts."""
    rows = (
        (f"{cell.size}, {cell.pace}: {name}", *cells(result, cell, name))
        for cell in LARGER
        for name in subjects(result, cell)
    )
    return table(("", *_COLUMNS), rows)


def strategies_table(result: Result) -> str:
    """One cell each."""
    names = [name for name in subjects(result, BUSY) if name.startswith(_STRATEGY)]
    return table(("", *_COLUMNS), ((f"`{name.removeprefix(_STRATEGY)}`", *cells(result, BUSY, name)) for name in names))


def cells(result: Result, cell: Cell, name: str) -> tuple[str, ...]:
    """The figures of one subject."""
    where = f"{cell.path}/{name}"
    digits = ((PER_SECOND, 0), (ADDED_P50, 2), (ADDED_P99, 2), (ENVOY, 0), (PLUGIN, 0))
    return tuple(show(result, f"{where}/{what}", count) for what, count in digits)


def plot_cpu(result: Result, images: Path) -> None:
    """Bars: Envoy's share and the plugin's."""
    figure, axes = plots.canvas(11, 4.5, columns=2)
    for at, cell, title in ((axes[0], BUSY, "1.2 KB of JSON"), (axes[1], STREAMS, "a stream of 128 chunks")):
        names = [name for name in subjects(result, STREAMS) if name in subjects(result, BUSY)]
        envoy = [median(result, f"{cell.path}/{name}/{ENVOY}") for name in names]
        plugin = [median(result, f"{cell.path}/{name}/{PLUGIN}") for name in names]
        places = np.arange(len(names))
        at.barh(places, envoy, color=plots.COLOURS[0], label="Envoy")
        at.barh(places, plugin, left=envoy, color=plots.COLOURS[1], label="plugin or echo")
        at.set_yticks(places, names if at is axes[0] else [""] * len(names), fontsize=8)
        at.invert_yaxis()
        plots.finish(at, "CPU per request, us, 32 at once", "", title, legend=at is axes[0])
    plots.save(figure, images / "overhead-cpu.svg")


def plot_steady(result: Result, images: Path) -> None:
    """The distribution of the time to first byte at 200/s."""
    figure, (axes,) = plots.canvas()
    shown = (ALONE, NATIVE_ECHO, ECHO, HEADER_ONLY, FREE, LIMITED, FOLLOWED, FOLLOWED_GRPCIO)
    curves = result.series.get(STEADY_TTFB, {})
    for name, colour in zip(shown, (plots.GREY, *plots.COLOURS), strict=False):
        if values := curves.get(name):
            axes.plot(values, np.linspace(0, 1, len(values)), color=colour, label=name, linewidth=1.6)
    axes.set(xscale="log", ylim=(0, 1))
    plots.finish(axes, "time to first byte, ms", "share of requests", "1.2 KB of JSON at 200 requests per second")
    plots.save(figure, images / "overhead-ttfb.svg")


def plot_sizes(result: Result, images: Path) -> None:
    """Envoy and plugin together against the prompt's size."""
    figure, (axes,) = plots.canvas()
    for number, name in enumerate(MAIN):
        points = [(SIZES[size] / 1e3, both(result, busy(size), name)) for size in (SMALL, MIDDLE, LARGE)]
        known = [(x, y) for x, y in points if y is not None]
        if known:
            line(axes, known, number, name)
    axes.set(xscale="log", yscale="log")
    plots.finish(axes, "prompt, KB", "CPU per request of Envoy and plugin, us", "plain responses, 32 at once")
    plots.save(figure, images / "overhead-sizes.svg")


def line(axes: Axes, points: list[tuple[float, float]], number: int, name: str) -> None:
    """One subject."""
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=plots.COLOURS[number], marker=plots.MARKERS[number], label=name, markersize=5)


def busy(size: str) -> Cell:
    """32 at once."""
    return Cell(PLAIN, size, BUSY.pace)


def both(result: Result, cell: Cell, name: str) -> float | None:
    """Envoy and plugin; None where it was not measured."""
    if f"{cell.path}/{name}/{ENVOY}" not in figures(result):
        return None
    return median(result, f"{cell.path}/{name}/{ENVOY}") + median(result, f"{cell.path}/{name}/{PLUGIN}")


def median(result: Result, path: str) -> float:
    """Of the repeats."""
    return figures(result)[path].spread.median
