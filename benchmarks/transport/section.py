"""The section of the report: our own transport beside grpc.aio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.markdown import figures, how, show, table
from benchmarks.transport.serving import BODIES_BYTES, GRPCIO, TRANSPORTS
from gateway_plugin.tools.bench import plots

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result

_TEXT = """## The transport

A bare echo of both ext_proc messages behind a real Envoy, {connections} connections, on our own HTTP/2 and on grpc.aio:
no decision at all. {how}
{runs}
![CPU per request of a bare echo](images/transport.svg)

Without Envoy: {held:,} held streams keep {kib} KiB each in the server's process, and {calls:,} calls leave it at
{after:.1f} MiB, from {before:.1f} MiB before.
"""


def section(result: Result, images: Path) -> str:
    """Markdown; saves one plot."""
    plot(result, images)
    return _TEXT.format(
        how=how(result),
        runs="\n" + runs_table(result),
        kib=show(result, "memory/held stream", 1),
        connections=result.load["connections"],
        held=result.load["held"],
        calls=result.load["calls"],
        before=result.series["mib_before"],
        after=result.series["mib_after"],
    )


def runs_table(result: Result) -> str:
    """By body and transport."""
    columns = (("per_second", 0), ("p50_ms", 2), ("plugin_us", 1), ("envoy_us", 1))
    rows = (
        (
            f"{name}, {body_bytes} B",
            *(show(result, f"{body_bytes} B/{name}/{what}", digits) for what, digits in columns),
        )
        for body_bytes in BODIES_BYTES
        for name in TRANSPORTS
    )
    return table(("", "requests/s", "p50 ms", "echo CPU us", "Envoy CPU us"), rows)


def plot(result: Result, images: Path) -> None:
    """Bars: Envoy's share and the echo's."""
    figure, (axes,) = plots.canvas(8, 2.6)
    cases = [(name, body_bytes) for body_bytes in BODIES_BYTES for name in TRANSPORTS]
    known = figures(result)
    envoy, echo = (
        [known[f"{body_bytes} B/{name}/{what}"].spread.median for name, body_bytes in cases]
        for what in ("envoy_us", "plugin_us")
    )
    places = np.arange(len(cases))
    axes.barh(places, envoy, color=plots.COLOURS[0], label="Envoy")
    axes.barh(places, echo, left=envoy, color=plots.COLOURS[1], label="echo")
    names = {GRPCIO: "grpc.aio"}
    axes.set_yticks(places, [f"{names.get(name, 'ours')}, {body_bytes} B" for name, body_bytes in cases])
    axes.invert_yaxis()
    plots.finish(axes, "CPU per request, us", "")
    plots.save(figure, images / "transport.svg")
