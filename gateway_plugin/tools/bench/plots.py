"""One look for all plots: SVG on no background, readable on white and on black, few bytes.

Needs matplotlib (`pip install gateway-plugin[bench]`), which takes a second to import: only functions import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#808080"
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B59F00", "#9467BD", "#8C564B", "#17BECF"),
    *("#BCBD22", "#E377C2", GREY),
)
"""Okabe and Ito's first: told apart by the colour-blind, and strong enough on both backgrounds."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d")
POINTS = 200
"""Of a curve; more cannot be seen, and make the file large."""


def canvas(width: float = 8.0, height: float = 4.5, columns: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure and its axes, side by side, to be labelled and saved."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a second to import

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def finish(axes: Axes, xlabel: str, ylabel: str, title: str = "", *, legend: bool = True) -> None:
    """Labels, grid and legend in a grey for both backgrounds. Labels name their units."""
    axes.set_xlabel(xlabel, color=GREY)
    axes.set_ylabel(ylabel, color=GREY)
    if title:
        axes.set_title(title, color=GREY, fontsize=10)
    axes.tick_params(colors=GREY, which="both")
    _write_plain_numbers(axes)
    axes.grid(color=GREY, alpha=0.25, which="both", linewidth=0.5)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    if legend:
        axes.legend(frameon=False, labelcolor=GREY, fontsize=8)


def _write_plain_numbers(axes: Axes) -> None:
    """On logarithmic axes: 0.5 and 2,000 rather than powers of ten; 2 and 5 between these where there is room."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            least, most = axis.get_view_interval()
            axis.set_major_formatter(_plain_number)
            axis.set_minor_formatter(_two_or_five if most < 1000 * least else "")


def _plain_number(value: float, _: float) -> str:
    return f"{value:,.12g}"


def _two_or_five(value: float, _: float) -> str:
    return _plain_number(value, 0.0) if f"{value:e}"[0] in "25" else ""


def save(figure: Figure, path: Path) -> Path:
    """As SVG; the same figure gives the same bytes."""
    import matplotlib as mpl  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    return path


def distribution(values: Sequence[float], points: int = POINTS) -> tuple[list[float], list[float]]:
    """x and y of a cumulative distribution, thinned to its quantiles."""
    if not len(values):
        return [], []
    shares = np.linspace(0.0, 1.0, min(points, len(values)))
    return np.quantile(np.asarray(values, dtype=float), shares).tolist(), shares.tolist()
