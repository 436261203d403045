"""Where results of the project's own benchmarks go, and how their promises are shown."""

from __future__ import annotations

import datetime
from pathlib import Path

from gateway_plugin.tools.bench.machine import commit, cpu_name, machine
from gateway_plugin.tools.bench.results import Figure, FigureSpread, Line, Result, read, write

__all__ = ["Figure", "FigureSpread", "Line", "Result", "commit", "cpu_name", "machine", "read", "write"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"


def today() -> Path:
    """The folder of this day's results."""
    return RESULTS / datetime.datetime.now(datetime.UTC).date().isoformat()
