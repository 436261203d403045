"""The section of the report: streams that are held open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.markdown import how, show
from gateway_plugin.tools.bench import plots

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result

_TEXT = """## Held streams

{streams:,} generations that start at {rate:g} a second, give one chunk a second, and stay until all are open; limits
are in Valkey. {how}
A held exchange costs the plugin {plugin} KB of memory of its own, and Envoy {envoy} KB.

![Streams and memory over time](images/held.svg)
"""


def section(result: Result, images: Path) -> str:
    """Markdown; saves one plot."""
    plot(result, images)
    return _TEXT.format(
        streams=result.load["streams"],
        rate=result.load["starts_per_second"],
        how=how(result),
        plugin=show(result, "memory per held stream/plugin", 1),
        envoy=show(result, "memory per held stream/Envoy", 1),
    )


def plot(result: Result, images: Path) -> None:
    """Two panels over time: what is open, and what it costs."""
    figure, (opened, memory) = plots.canvas(10, 3.6, columns=2)
    series = result.series
    opened.plot(series["seconds"], series["open"], color=plots.COLOURS[0])
    memory.plot(series["seconds"], series["plugin_mb"], color=plots.COLOURS[1], label="plugin")
    memory.plot(series["seconds"], series["envoy_mb"], color=plots.COLOURS[0], label="Envoy")
    memory.set_ylim(bottom=0)
    plots.finish(opened, "seconds", "open streams", legend=False)
    plots.finish(memory, "seconds", "own memory, MB")
    plots.save(figure, images / "held.svg")
