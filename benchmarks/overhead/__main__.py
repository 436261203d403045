"""`python -m benchmarks.overhead [--repeats N] [--docs]`: what the gateway adds to Envoy alone.

Real Envoy, and engines that are never the bottleneck; load, engines, Envoy and plugin are processes of their own on one
machine. CPU comes from the kernel (schedstat, nanoseconds), for whole processes. Exits with 1 when a promise does not
hold. `--docs` also writes docs/overhead.md and its plot anew.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.overhead import page, report
from benchmarks.overhead.measuring import LOADS, measure
from benchmarks.overhead.variants import VARIANTS
from benchmarks.procfs import raise_open_files
from benchmarks.results import RESULTS, ROOT, Result, machine, today, write
from benchmarks.table import promise_table


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--docs", action="store_true")
    arguments = parser.parse_args()
    raise_open_files()
    with tempfile.TemporaryDirectory() as directory:
        measured = asyncio.run(measure(VARIANTS, Path(directory), arguments.repeats, LOADS))
    lines = report.promises(measured)
    console = Console(width=120)
    about = machine()
    console.print(f"{about['cpu']}, {about['cpus']} CPUs, Python {about['python']}, {arguments.repeats} repeats")
    for table in [*report.tables(measured), promise_table(lines)]:
        console.print(table, "")
    console.print(f"errors: {dict(measured.errors) or 'none'}, timeouts: {measured.timeouts}")
    loads = {name: asdict(load) for name, load in LOADS.items()}
    series = report.as_values(measured)
    result = Result(
        name="overhead",
        machine=about,
        load=loads,
        repeats=arguments.repeats,
        lines=lines,
        series=series["rounds"],
        errors=series["errors"],
        timeouts=series["timeouts"],
    )
    path = write(result, today())
    report.plot(measured, RESULTS / "overhead.svg")
    console.print(f"written: {path.relative_to(ROOT)}, benchmarks/results/overhead.svg")
    if arguments.docs:
        page.write(measured, lines, arguments.repeats)
    return 0 if all(line.holds for line in lines) and not measured.errors and not measured.timeouts else 1


if __name__ == "__main__":
    sys.exit(main())
