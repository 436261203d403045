"""The section of the report: what limits cost, and how they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.limits import accuracy, outage
from benchmarks.limits.rates import BATCHING, CALLERS, MEMORY, ONE, SINGLE
from benchmarks.markdown import how, show, table
from gateway_plugin.tools.bench import plots

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result

_TEXT = """## Limits

Admissions that reserve tokens, as for a chat request. Valkey is a real server on loopback that shares the machine with
its client. {how}
**Speed.** {callers} callers ask without pause. CPU is that of the client's process; the service batches.

{rates}
**Exactness.** One user, and {processes} processes (memory: one) of {tasks} tasks each that together ask for {share:g}
times what the limit allows. The run is shorter than a minute, so nothing that was spent comes back.

{accuracy}
**While the store is away**, by `store_down`: {rate} admissions/s for each mode; three of four of users whose limits are
far away, the fourth of a user who may {spent} requests a minute, and soon has spent them. Valkey is frozen (it keeps
its connections, and answers nobody), thawed, killed, and started again.

{outages}
![Admissions while the store is away](images/limits-outage.svg)

![The longest wait for an admission](images/limits-waits.svg)
"""
_AWAY = ((outage.FROZEN, outage.THAWED, "frozen"), (outage.KILLED, outage.STARTED, "killed"))
_WHAT = (("admitted", plots.COLOURS[2]), ("refused", plots.COLOURS[1]), ("unavailable", plots.COLOURS[3]))


def section(result: Result, images: Path) -> str:
    """Markdown; saves two plots."""
    plot_outages(result, images)
    plot_waits(result, images)
    return _TEXT.format(
        how=how(result),
        callers=CALLERS,
        rates=rates_table(result),
        processes=accuracy.PROCESSES,
        tasks=accuracy.TASKS,
        share=accuracy.ASKED_SHARE,
        accuracy=accuracy_table(result),
        rate=outage.RATE_PER_SECOND,
        spent=outage.SPENT_LIMIT,
        outages=outages_table(result),
    )


def rates_table(result: Result) -> str:
    """By store."""
    columns = (("per_second", 0), ("p50_ms", 3), ("p99_ms", 3), ("cpu_us", 1))
    return table(
        ("store", "admissions/s", "p50 ms", "p99 ms", "CPU us each"),
        (
            (store, *(show(result, f"rates/{store}/{name}", digits) for name, digits in columns))
            for store in (MEMORY, ONE, SINGLE, BATCHING)
        ),
    )


def accuracy_table(result: Result) -> str:
    """How far from the limit."""
    rows = (
        (f"{one['store']}, limit on {one['kind']}", *(f"{one[name]:,}" for name in ("asked", "limit", "admitted")))
        for one in result.series["accuracy"]
    )
    return table(("store", "asked", "may pass", "passed"), rows)


def outages_table(result: Result) -> str:
    """Sums of each timeline."""
    rows = (
        (
            f"`{mode}`",
            *(f"{sum(steps[name]):,.0f}" for name, _ in _WHAT),
            show(result, f"outage/{mode}/longest wait"),
            show(result, f"outage/{mode}/asked again after", 2),
        )
        for mode, steps in result.series["outages"].items()
    )
    return table(("store_down", "admitted", "refused", "503", "longest wait ms", "asked again after s"), rows)


def times(result: Result) -> list[float]:
    """Middles of the steps, in seconds."""
    seconds = float(result.series["step_seconds"])
    count = max((len(steps["admitted"]) for steps in result.series["outages"].values()), default=0)
    return [(number + 0.5) * seconds for number in range(count)]


def shade(axes: Axes, result: Result) -> None:
    """When the store was away; a smoke run is shorter, and in the same proportions."""
    share = len(times(result)) * float(result.series["step_seconds"]) / outage.END
    for begins, ends, what in _AWAY:
        axes.axvspan(begins * share, ends * share, color=plots.GREY, alpha=0.2, linewidth=0)
        axes.annotate(
            what,
            ((begins + ends) / 2 * share, 0.97),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            color=plots.GREY,
            fontsize=8,
        )


def plot_outages(result: Result, images: Path) -> None:
    """One panel for each mode: what became of the admissions of each step."""
    outages = result.series["outages"]
    figure, panels = plots.canvas(11, 3.6, columns=len(outages))
    for axes, (mode, steps) in zip(panels, outages.items(), strict=True):
        shade(axes, result)
        for name, colour in _WHAT:
            axes.plot(
                times(result), steps[name], color=colour, label="503" if name == "unavailable" else name, linewidth=1.4
            )
        axes.set_ylim(0, 1.35 * max(max(steps[name]) for name, _ in _WHAT))
        first = axes is panels[0]
        plots.finish(axes, "seconds", "admissions per 100 ms" if first else "", f"store_down: {mode}", legend=first)
        if first:
            axes.legend(frameon=False, labelcolor=plots.GREY, fontsize=8, loc=(0.02, 0.37), ncols=3, handlelength=1)
    plots.save(figure, images / "limits-outage.svg")


def plot_waits(result: Result, images: Path) -> None:
    """The longest of each step, by mode."""
    figure, (axes,) = plots.canvas(8, 3.6)
    shade(axes, result)
    for number, (mode, steps) in enumerate(result.series["outages"].items()):
        axes.plot(times(result), steps["longest_ms"], color=plots.COLOURS[number], label=mode, linewidth=1.4)
    axes.set_yscale("log")
    plots.finish(axes, "seconds", "longest wait of 100 ms, ms", "", legend=True)
    plots.save(figure, images / "limits-waits.svg")
