"""What all benchmarks have in common: options, progress, the end of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.results import today, write
from benchmarks.table import promise_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from benchmarks.results import Result


def options(name: str, what: str) -> argparse.ArgumentParser:
    """`--out` and `--quick`, to which a benchmark adds its own."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=what)
    parser.add_argument("--out", type=Path, default=None, help="folder of results (benchmarks/results/<date>)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds, whose figures mean nothing")
    return parser


def progress() -> Progress:
    """Bars that go when all is done."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def conclude(result: Result, out: Path | None, tables: Iterable[Table], *, quick: bool = False) -> int:
    """Prints and writes the result; the exit code is 1 when something went wrong or, unless quick, a promise broke."""
    console, about = Console(width=140), result.machine
    console.print(f"{about['cpu']}, {about['cpus']} CPUs, Python {about['python']}, {result.repeats} repeats")
    for table in tables:
        console.print(table, "")
    if result.lines:
        console.print(promise_table(result.lines), "")
    console.print(result.trouble)
    console.print(f"written: {write(result, out or today())}")
    holds = quick or all(line.holds for line in result.lines)
    return 0 if holds and not result.errors and not result.timeouts else 1
