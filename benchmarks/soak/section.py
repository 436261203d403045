"""The section of the report: what many requests leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.markdown import how, show, table
from gateway_plugin.tools.bench import plots

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result

_TEXT = """## Soak

JSON answers and short streams of {chunks} chunks side by side, {concurrency} clients of each kind; {abort:.0%} of the
requests are aborted, half of these amid their own body, half at any moment after. Meanwhile pods come and go every
{churn:g} s, and Valkey is killed and, {down:g} s later, started again; limits are then decided in the plugin
(`store_down: local`). {how}
{counts}
A reservation whose client left while the plugin's answer was on its way to Envoy is the one kind that nobody settles;
it counts until it expires. Memory is judged only in runs with a warm-up of minutes, as settled charges are
remembered for three: `--requests 100000 --store both`.

{images}"""


def section(result: Result, images: Path) -> str:
    """Markdown; saves a plot for each store."""
    load = result.load
    plan = next(iter(load["plans"].values()))
    links = []
    for store, curves in result.series.items():
        plot(curves, images / f"soak-{store}.svg")
        links.append(f"![Memory, leases and errors over time, limits in {store}](images/soak-{store}.svg)\n")
    return _TEXT.format(
        chunks=load["chunks"],
        concurrency=load["concurrency of each kind"],
        abort=load["abort_share"],
        churn=plan["churn_seconds"],
        down=plan["down_seconds"],
        how=how(result),
        counts=counts_table(result),
        images="\n".join(links),
    )


def counts_table(result: Result) -> str:
    """By store."""
    head = ("limits in", "completed", "aborted", "left to expire", "memory, most, MB", "growth after warm-up, %")
    rows = (
        (
            store,
            *(f"{curves[name]:,}" for name in ("completed", "aborted", "left_to_expire")),
            show(result, f"{store}/memory, most", 1),
            show(result, f"{store}/growth of memory", 2),
        )
        for store, curves in result.series.items()
    )
    return table(head, rows)


def plot(curves: dict[str, Any], path: Path) -> None:
    """Three panels over time: memory, what is held, requests."""
    figure, (memory, held, rate) = plots.canvas(12, 3.8, columns=3)
    samples = curves["samples"]
    seconds = samples["seconds"]
    memory.plot(seconds, samples["rss_mb"], color=plots.COLOURS[0])
    memory.set_ylim(0, 1.25 * max(samples["rss_mb"]))
    for number, (name, label) in enumerate(
        (("unsettled", "requests not settled (yet)"), ("in_flight", "exchanges"), ("leases", "leases"))
    ):
        held.plot(seconds, samples[name], color=plots.COLOURS[number], label=label, linewidth=1.2)
    times = [number * curves["rate_step_seconds"] for number in range(len(curves["completed_per_second"]))]
    rate.step(times, curves["completed_per_second"], color=plots.COLOURS[2], label="completed", where="post")
    rate.step(times, curves["failed_per_second"], color=plots.COLOURS[3], label="failed", where="post")
    for axes in (memory, held, rate):
        mark(axes, curves)
    plots.finish(
        memory, "seconds", "plugin's own memory, MB", "dashed: end of the warm-up; grey: store away", legend=False
    )
    plots.finish(held, "seconds", "held")
    plots.finish(rate, "seconds", "requests per second")
    plots.save(figure, path)


def mark(axes: Axes, curves: dict[str, Any]) -> None:
    """When the warm-up ended, and when the store was away."""
    axes.axvline(curves["warm_seconds"], color=plots.GREY, linestyle="--", linewidth=1)
    times = [at for at, _ in curves["events"]]
    for begins, ends in zip(times[::2], times[1::2], strict=False):
        axes.axvspan(begins, ends, color=plots.GREY, alpha=0.3, linewidth=0)
