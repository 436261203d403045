"""Where results of the project's own benchmarks go, and how their promises are shown."""

from __future__ import annotations

import datetime
from pathlib import Path

from gateway_plugin.bench.machine import commit, cpu_name, machine
from gateway_plugin.bench.results import Figure, Line, Result, Spread, read, write

__all__ = ["Figure", "Line", "Result", "Spread", "commit", "cpu_name", "machine", "read", "write"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"


def today() -> Path:
    """The folder of this day's results."""
    return RESULTS / datetime.datetime.now(datetime.UTC).date().isoformat()
