"""What `benchmarks.exchange_cost` found, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result


def section(result: Result, images: Path) -> str:
    """A table; it has no plot."""
    del images
    rows = "\n".join(f"| {figure.path} | {figure.spread.show(1)} |" for figure in result.figures)
    return f"""## One request inside the plugin

CPU of the plugin's own code for one request, without transport and sockets to Envoy, by what it answers: the headers,
the body (choice, booking, reply), the end of the call, and the access log's entry. {result.load}.

| part | us [least-most] |
|---|---|
{rows}
"""
