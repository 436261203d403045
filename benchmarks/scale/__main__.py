"""`python -m benchmarks.scale`: the plugin's own work against the number of pods, prompts and events.

Calls are measured in CPU time of this process; medians of repeats in one run. Without Envoy, except for the lag of the
event loop, which is that of a whole plugin under load.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.procfs import raise_open_files
from benchmarks.results import Figure, Line, Result, machine
from benchmarks.running import conclude, options, progress
from benchmarks.scale import decisions, index, lag, scraping, watching
from benchmarks.scale.timing import REPEATS, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

QUICK_SHARE = 0.1
QUICK_PODS = (10, 100)
QUICK_LAG_SHARE = 0.15
QUICK_SIZES_KIB = index.SIZES_KIB[:2]
TARGET_PODS = 100


@dataclass(slots=True)
class Measured:
    """Figures by path, and what is no figure."""

    figures: list[Figure] = field(default_factory=list)
    filled: list[index.Filled] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    timeouts: int = 0

    def add(self, path: str, unit: str, values: Sequence[float]) -> None:
        """One figure; all of them are better when they are lower."""
        self.figures.append(Figure(path, unit, tuple(values)))


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    arguments = options("scale", "The plugin's own work against pods, prompts and events.").parse_args(argv)
    raise_open_files()
    measured = Measured()
    steps = list(all_steps(measured, quick=arguments.quick))
    with progress() as bar:
        task = bar.add_task("scale", total=len(steps))
        for step in steps:
            step()
            bar.advance(task)
    return conclude(as_result(measured), arguments.out, tables(measured), quick=arguments.quick)


def all_steps(measured: Measured, *, quick: bool) -> Iterator[Callable[[], None]]:
    """Each measures something."""
    share = QUICK_SHARE if quick else 1.0
    for pods in QUICK_PODS if quick else decisions.PODS:
        yield lambda pods=pods: add_calls(measured, f"choose and book/{pods} pods", decisions.choices(pods), share)  # type: ignore[misc]
    yield lambda: add_calls(measured, "parts", decisions.parts(), share)
    yield lambda: add_calls(measured, "discovery", watching.cases(), share)
    for kib in QUICK_SIZES_KIB if quick else index.SIZES_KIB:
        yield lambda kib=kib: add_prompts(measured, kib, max(5, int(index.PROMPTS * share)))  # type: ignore[misc]
    yield lambda: measured.filled.extend(index.filled_elsewhere(share * 0.1 if quick else 1.0))
    for pods in scraping.PODS[:1] if quick else scraping.PODS:
        yield lambda pods=pods: add_scrapes(measured, pods, 1 if quick else scraping.SECONDS)  # type: ignore[misc]
    yield lambda: add_calls(measured, "parts", [("read a page of engine metrics of 60 KB", scraping.reading())], share)
    yield lambda: add_lag(measured, QUICK_LAG_SHARE if quick else 1.0)


def add_calls(measured: Measured, where: str, calls: Iterable[tuple[str, Callable[[], object]]], share: float) -> None:
    """Microseconds of each."""
    for name, call in calls:
        measured.add(f"{where}/{name}", "us", microseconds(call, share))


def add_prompts(measured: Measured, kib: int, prompts: int) -> None:
    """The median of all prompts, as each is another."""
    columns = zip(*index.measured_prompts(kib * index.KIB, prompts), strict=True)
    for name, column in zip(index.STEPS, columns, strict=True):
        measured.add(f"prefix index/{kib} KiB/{name}", "us", [round(statistics.median(column) * 1e6, 2)])


def add_scrapes(measured: Measured, pods: int, seconds: int) -> None:
    """One value for each second."""
    shares, outcomes = scraping.cost_of(pods, seconds)
    measured.add(f"scraping/{pods} pods/CPU of one core", "%", [round(share * 100, 2) for share in shares])
    measured.errors.update({f"scrape: {name}": count for name, count in outcomes.items() if name != "ok"})


def add_lag(measured: Measured, share: float) -> None:
    """By load."""
    with tempfile.TemporaryDirectory() as directory:
        lags, outcomes = asyncio.run(lag.measure(Path(directory), share))
    for name, found in lags.items():
        for what in ("p50_ms", "p99_ms", "max_ms"):
            measured.add(f"event-loop lag/{name}/{what}", "ms", [getattr(found, what)])
    for outcome in outcomes:
        measured.errors.update(outcome.errors)
        measured.timeouts += outcome.timeouts


def as_result(measured: Measured) -> Result:
    """In the common form."""
    return Result(
        name="scale",
        machine=machine(),
        load={
            "prompt_bytes": decisions.PROMPT_BYTES,
            "prompts": index.PROMPTS,
            "watched pods": watching.PODS,
            "scraped page_bytes": len(scraping.page(1)),
            "lag": {"pods": lag.PODS, "seconds": lag.SECONDS},
        },
        repeats=REPEATS,
        figures=measured.figures,
        lines=promises(measured),
        errors=dict(measured.errors),
        timeouts=measured.timeouts,
        series={"prefix index": [one._asdict() for one in measured.filled]},
    )


def promises(measured: Measured) -> list[Line]:
    """What must hold."""
    path = f"scraping/{TARGET_PODS} pods/CPU of one core"
    return [
        Line(f"CPU of one core for scraping {TARGET_PODS} pods once a second", figure.spread.median, 15.0, "%")
        for figure in measured.figures
        if figure.path == path
    ]


def tables(measured: Measured) -> Iterator[Table]:
    """For the terminal."""
    table = Table("what", "median", "least", "most", "unit", show_edge=False)
    for figure in measured.figures:
        spread = figure.spread
        table.add_row(
            figure.path, *(f"{value:,.2f}" for value in (spread.median, spread.least, spread.most)), figure.unit
        )
    yield table
    table = Table("blocks inserted", "held", "MB", "CPU us a block", "slowest chain ms", show_edge=False)
    for one in measured.filled:
        cells = f"{one.megabytes:,.0f}", f"{one.insert_us_per_block:.2f}", f"{one.slowest_ms:.1f}"
        table.add_row(f"{one.inserted:,}", f"{one.blocks:,}", *cells)
    yield table


if __name__ == "__main__":
    sys.exit(main())
