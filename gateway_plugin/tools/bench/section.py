"""A result of `gateway-plugin bench` as Markdown with plots; made from the result alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway_plugin.tools.bench import plots
from gateway_plugin.tools.bench.showing import kinds, labels, rows, warnings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from gateway_plugin.tools.bench.results import Result

TITLE = "Load on a gateway"


def section(result: Result, images: Path | None) -> str:
    """Without a folder for images: no plots."""
    parts = [f"## {TITLE}", f"`{result.machine.get('command', '')}`", result.trouble]
    parts += [f"**{text}**" for text in warnings(result)]
    parts.append(markdown_table(["", *labels(result)], rows(result)))
    parts.append(
        "Quantiles are over all requests; one that failed is infinitely slow. Times count from when a request was sent."
    )
    if any(series["pods"] for series in result.series.values()):
        parts.append(_pods_table(result))
    if images is not None:
        parts += [f"![{text}](images/{name})" for name, text in draw(result, images)]
    parts += ["\n".join(f"- {_plain(text)}" for text in kinds(result))] if result.errors or result.timeouts else []
    parts.append(f"Load: `{json.dumps(result.load)}`")
    return "\n\n".join(parts) + "\n"


def page(result: Result, images: Path | None) -> str:
    """The section with a head of its own."""
    about = result.machine
    where = f"{about.get('ended', '')}, from {about.get('cpu', '')} with {about.get('cpus', '')} CPUs"
    return f"# Benchmark\n\n{where}.\n\n{section(result, images)}"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(_plain(each) for each in line) + " |" for line in lines)


def draw(result: Result, images: Path) -> list[tuple[str, str]]:
    """Saves all plots; names of files and what they show."""
    drawn = []
    streamed = any(series["ttft_seconds"][0] for series in result.series.values())
    key, what = ("ttft_seconds", "TTFT") if streamed else ("total_seconds", "end-to-end latency")
    for name, text, paint in (
        ("bench-latency.svg", f"{what}: share of all requests", _latencies),
        ("bench-timeline.svg", f"{what} over the run, p50 and p95", _timelines),
    ):
        figure, (axes,) = plots.canvas()
        paint(axes, result, key, what)
        plots.save(figure, images / name)
        drawn.append((name, text))
    return drawn


def _latencies(axes: Axes, result: Result, key: str, what: str) -> None:
    """A curve that ends below 100 % is one of which requests failed."""
    for label, colour in zip(labels(result), _colours(result), strict=True):
        values, shares = result.series[label][key]
        axes.step(values, [100 * share for share in shares], where="post", color=colour, label=label)
    axes.set_ylim(0, 102)
    axes.set_xscale("log")
    plots.finish(axes, f"{what}, seconds", "% of all requests, the failed ones included")


def _timelines(axes: Axes, result: Result, key: str, what: str) -> None:
    del key
    for label, colour in zip(labels(result), _colours(result), strict=True):
        line: dict[str, Any] = result.series[label]["timeline"]
        axes.plot(line["at_seconds"], line["p50_seconds"], color=colour, label=label)
        axes.plot(line["at_seconds"], line["p95_seconds"], color=colour, linestyle=":", linewidth=1)
    axes.set_yscale("log")
    plots.finish(axes, "due, seconds after the start", f"{what}, seconds; p95 dotted")


def _pods_table(result: Result) -> str:
    pods = sorted({pod for series in result.series.values() for pod in series["pods"]})
    body = [[pod, *(f"{series['pods'].get(pod, 0):,}" for series in result.series.values())] for pod in pods]
    return markdown_table(["requests of pod", *labels(result)], body)


def _colours(result: Result) -> list[str]:
    return [plots.COLOURS[number % len(plots.COLOURS)] for number in range(len(labels(result)))]


def _plain(text: str) -> str:
    """One line, and no bars, which would be columns."""
    return " ".join(text.replace("|", "\\|").split())
