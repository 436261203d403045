"""The section of the report: what the plugin's own work costs at scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.markdown import figures, how, show, table
from benchmarks.scale import decisions, index, lag, scraping, watching
from gateway_plugin.tools.bench import plots
from routing.prefix.prefix_index import MAX_BLOCKS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result

_TEXT = """## Scale

Microseconds are CPU time of one core, without transport. {how}
**Choosing and booking a pod**: all pods known and idle, a prompt of 32 KB whose first quarter a tenth of them have
seen. Strategies that need no prompt cost the same without one.

{choices}
![Choosing and booking against pods](images/scale-pods.svg)

**Other parts of a decision**, and of following a Kubernetes cluster of {watched:,} pods (7 KB of JSON each):

{parts}
**The prefix index.** With 100 pods, by the size of the prompt; a system prompt that all pods hold is its first quarter:

{prompts}
Against its entries, each on one pod only; beyond its bound ({bound:,} blocks) it forgets the oldest:

{filled}
![The prefix index against its entries](images/scale-index.svg)

**Scraping engine metrics** once a second, pages of 60 KB:

{scraping}
![CPU of scraping against pods](images/scale-scraping.svg)

**Lag of the event loop**: how late a ticker of 10 ms is woken in a plugin that scrapes {lag_pods} pods, with limits in
Valkey; load, Envoy, engines and Valkey share the machine, which is part of the lag.

{lag}"""


def section(result: Result, images: Path) -> str:
    """Markdown; saves three plots."""
    plot_pods(result, images)
    plot_index(result, images)
    plot_scraping(result, images)
    return _TEXT.format(
        how=how(result),
        choices=choices_table(result),
        watched=watching.PODS,
        parts=parts_table(result),
        prompts=prompts_table(result),
        bound=MAX_BLOCKS,
        filled=filled_table(result),
        scraping=scraping_table(result),
        lag_pods=lag.PODS,
        lag=lag_table(result),
    )


def pods_measured(result: Result) -> list[int]:
    """A smoke run has fewer."""
    return [
        pods for pods in decisions.PODS if any(p.startswith(f"choose and book/{pods} pods/") for p in figures(result))
    ]


def strategies(result: Result) -> list[str]:
    """In order."""
    return list(dict.fromkeys(path.split("/")[2] for path in figures(result) if path.startswith("choose and book/")))


def choices_table(result: Result) -> str:
    """Microseconds, medians."""
    pods = pods_measured(result)
    head = ("CPU us", *(f"{count:,} pods" for count in pods))
    rows = (
        (f"`{name}`", *(f"{median(result, f'choose and book/{count} pods/{name}'):,.0f}" for count in pods))
        for name in strategies(result)
    )
    return table(head, rows)


def median(result: Result, path: str) -> float:
    """Of a figure that was measured."""
    return figures(result)[path].spread.median


def parts_table(result: Result) -> str:
    """One line for each."""
    paths = [path for path in figures(result) if path.startswith(("parts/", "discovery/"))]
    return table(("what", "CPU us"), ((path.partition("/")[2], show(result, path, 1)) for path in paths))


def prompts_table(result: Result) -> str:
    """By size."""
    head = ("prompt", *(f"{step} us" for step in index.STEPS))
    rows = (
        (f"{kib} KiB", *(show(result, f"prefix index/{kib} KiB/{step}", 1) for step in index.STEPS))
        for kib in index.SIZES_KIB
    )
    return table(head, rows)


def filled_table(result: Result) -> str:
    """As it filled."""
    rows = (
        (
            f"{one['inserted']:,}",
            f"{one['blocks']:,}",
            f"{one['megabytes']:,.0f}",
            f"{one['insert_us_per_block']:.2f}",
            f"{one['slowest_ms']:.1f}",
        )
        for one in result.series["prefix index"]
    )
    return table(("blocks inserted", "held", "MB", "CPU us a block", "slowest prompt of 85 blocks, ms"), rows)


def scraping_table(result: Result) -> str:
    """By pods."""
    paths = [(pods, f"scraping/{pods} pods/CPU of one core") for pods in scraping.PODS]
    return table(("pods", "CPU of one core, %"), ((f"{pods}", show(result, path, 1)) for pods, path in paths))


def lag_table(result: Result) -> str:
    """By load."""
    whats = ("p50_ms", "p99_ms", "max_ms")
    rows = (
        (name, *(show(result, f"event-loop lag/{name}/{what}", 2) for what in whats))
        for name in (lag.IDLE, lag.PACED, lag.MANY)
    )
    return table(("load", "p50 ms", "p99 ms", "most ms"), rows)


def plot_pods(result: Result, images: Path) -> None:
    """One curve for each strategy."""
    figure, (axes,) = plots.canvas(8, 5)
    pods = pods_measured(result)
    for number, name in enumerate(strategies(result)):
        times = [median(result, f"choose and book/{count} pods/{name}") for count in pods]
        style = {"color": plots.COLOURS[number], "marker": plots.MARKERS[number]}
        axes.plot(pods, times, label=name, linewidth=1.4, markersize=4, **style)  # type: ignore[arg-type]
    axes.set(xscale="log", yscale="log")
    plots.finish(axes, "pods of the model", "CPU to choose and book, us")
    plots.save(figure, images / "scale-pods.svg")


def plot_index(result: Result, images: Path) -> None:
    """Memory and speed against what was inserted."""
    figure, (left, right) = plots.canvas(10, 4, columns=2)
    filled = result.series["prefix index"]
    inserted = [one["inserted"] / 1e6 for one in filled]
    left.plot(inserted, [one["megabytes"] for one in filled], color=plots.COLOURS[0], marker="o", label="resident")
    right.plot(inserted, [one["insert_us_per_block"] for one in filled], color=plots.COLOURS[1], marker="s")
    for axes in (left, right):
        axes.axvline(MAX_BLOCKS / 1e6, color=plots.GREY, linestyle="--", linewidth=1)
        axes.set_ylim(bottom=0)
    plots.finish(left, "blocks inserted, millions (dashed: the bound)", "memory, MB", legend=False)
    plots.finish(right, "blocks inserted, millions (dashed: the bound)", "CPU to insert a block, us", legend=False)
    plots.save(figure, images / "scale-index.svg")


def plot_scraping(result: Result, images: Path) -> None:
    """Share of a core against pods."""
    figure, (axes,) = plots.canvas(6, 3.6)
    known = [pods for pods in scraping.PODS if f"scraping/{pods} pods/CPU of one core" in figures(result)]
    spreads = [figures(result)[f"scraping/{pods} pods/CPU of one core"].spread for pods in known]
    middle = [spread.median for spread in spreads]
    ranges = [[spread.median - spread.least for spread in spreads], [spread.most - spread.median for spread in spreads]]
    axes.errorbar(known, middle, yerr=ranges, color=plots.COLOURS[0], marker="o", capsize=3)
    axes.set(xscale="log", yscale="log")
    plots.finish(axes, "pods scraped once a second", "CPU of one core, %", legend=False)
    plots.save(figure, images / "scale-scraping.svg")
