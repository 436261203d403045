"""`python -m benchmarks.limits`: admissions per second by store, exactness under contention, and outages of the store.

Client and server share the machine; Valkey is a real one, on loopback, started for this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from rich.table import Table

from benchmarks.limits import accuracy, outage, rates
from benchmarks.limits.asking import USERS
from benchmarks.results import Figure, FigureSpread, Line, Result, machine
from benchmarks.running import conclude, options, progress
from gateway_plugin.tools.chain.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from typing import TypeVar

    from benchmarks.limits.accuracy import Accuracy
    from benchmarks.limits.asking import Rate
    from benchmarks.limits.outage import Timeline

    T = TypeVar("T")

REPEATS = 3
QUICK_SHARE = 0.1
QUICK_OUTAGE_SHARE = 0.25
UNITS = {"per_second": "1/s", "p50_ms": "ms", "p99_ms": "ms", "cpu_us": "us"}


@dataclass(slots=True)
class Measured:
    """Everything."""

    rates: dict[str, list[Rate]] = field(default_factory=lambda: defaultdict(list))
    accuracies: list[Accuracy] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    arguments = options("limits", "Admissions: speed, exactness, and outages of their store.").parse_args(argv)
    quick = arguments.quick
    repeats = 1 if quick else REPEATS
    with tempfile.TemporaryDirectory() as directory, unwarned("ratelimit"):
        measured = measure(Path(directory), repeats, quick=quick)
    return conclude(as_result(measured, repeats), arguments.out, tables(measured), quick=quick)


@contextlib.contextmanager
def unwarned(logger: str) -> Iterator[None]:
    """That the store is away is known here."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def measure(directory: Path, repeats: int, *, quick: bool) -> Measured:
    """One after another, as all want the machine for themselves."""
    measured = Measured()
    with Valkey(directory / "rates") as valkey, progress() as bar:
        cases = [case for _ in range(repeats) for case in rates.cases(valkey.url, QUICK_SHARE if quick else 1.0)]
        exact = list(contests(valkey.url, accuracy.KINDS[:1] if quick else accuracy.KINDS))
        task = bar.add_task("limits", total=len(cases) + len(exact) + 1)
        for name, measure_one in cases:
            measured.rates[name].append(measure_one())
            bar.advance(task)
        for contest in exact:
            measured.accuracies.append(on_uvloop(contest))
            bar.advance(task)
        with Valkey(directory / "outage", keeps=True) as breaking:
            watching = outage.watch(breaking, QUICK_OUTAGE_SHARE if quick else 1.0)
            measured.timelines = on_uvloop(lambda: watching)
    return measured


def contests(url: str, kinds: Sequence[str]) -> Iterator[Callable[[], Coroutine[None, None, Accuracy]]]:
    """Every store and kind of limit."""
    for kind in kinds:
        yield lambda kind=kind: accuracy.in_memory(kind)  # type: ignore[misc]
        for batching in (False, True):
            yield lambda kind=kind, batching=batching: accuracy.in_valkey(url, kind, batching=batching)  # type: ignore[misc]


def on_uvloop(work: Callable[[], Coroutine[None, None, T]]) -> T:
    """As the service runs it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def as_result(measured: Measured, repeats: int) -> Result:
    """In the common form."""
    errors: Counter[str] = Counter()
    for timeline in measured.timelines:
        errors.update(timeline.failures)
    return Result(
        name="limits",
        machine=machine(),
        load={
            "callers": rates.CALLERS,
            "users": USERS,
            "seconds": rates.SECONDS,
            "contention": {"processes": accuracy.PROCESSES, "tasks of each": accuracy.TASKS},
            "outage": {"admissions/s for each mode": outage.RATE_PER_SECOND},
        },
        repeats=repeats,
        figures=[*rate_figures(measured), *outage_figures(measured)],
        lines=promises(measured),
        errors=dict(errors),
        series={
            "accuracy": [one._asdict() for one in measured.accuracies],
            "step_seconds": outage.STEP_SECONDS,
            "outages": {timeline.mode: steps_of(timeline) for timeline in measured.timelines},
        },
    )


def steps_of(timeline: Timeline) -> dict[str, list[float]]:
    """A curve for each count."""
    steps = [asdict(step) for step in timeline.steps]
    return {name: [round(step[name], 3) for step in steps] for name in steps[0]}


def rate_figures(measured: Measured) -> Iterator[Figure]:
    """By store."""
    for store, several in measured.rates.items():
        for name, unit in UNITS.items():
            values = tuple(round(getattr(one, name), 4) for one in several)
            yield Figure(f"rates/{store}/{name}", unit, values, "higher" if name == "per_second" else "lower")


def outage_figures(measured: Measured) -> Iterator[Figure]:
    """By mode."""
    for timeline in measured.timelines:
        where = f"outage/{timeline.mode}"
        yield Figure(f"{where}/longest wait", "ms", (longest_ms(timeline),))
        yield Figure(f"{where}/asked again after", "s", tuple(timeline.recovered_seconds))


def longest_ms(timeline: Timeline) -> float:
    """Of all its admissions."""
    return max(step.longest_ms for step in timeline.steps)


def promises(measured: Measured) -> list[Line]:
    """What must hold."""
    memory, batching = measured.rates[rates.MEMORY], measured.rates[rates.BATCHING]
    above = max(one.admitted - one.limit for one in measured.accuracies)
    failed = sum(sum(timeline.failures.values()) for timeline in measured.timelines)
    turned_away = sum(
        step.unavailable for timeline in measured.timelines if timeline.mode != "closed" for step in timeline.steps
    )
    recovered = max(seconds for timeline in measured.timelines for seconds in timeline.recovered_seconds)
    return [
        Line("memory: CPU for an admission", FigureSpread.of([one.cpu_us for one in memory]).median, 10, "us"),
        Line(
            "Valkey: time for an admission",
            1e6 / FigureSpread.of([one.per_second for one in batching]).median,
            125,
            "us",
        ),
        Line("Valkey: p99 of an admission", FigureSpread.of([one.p99_ms for one in batching]).median, 10, "ms"),
        Line(
            "Valkey: client's CPU for an admission", FigureSpread.of([one.cpu_us for one in batching]).median, 120, "us"
        ),
        Line("admissions above a limit, under contention", max(above, 0), 0),
        Line("outage: admissions that failed", failed, 0),
        Line("outage: not decided, with local or open", turned_away, 0),
        Line("outage: until a store that is back is asked again", recovered, 2, "s"),
    ]


def tables(measured: Measured) -> Iterator[Table]:
    """For the terminal."""
    table = Table("store", "admissions/s", "p50 ms", "p99 ms", "CPU us each", show_edge=False)
    for store, several in measured.rates.items():
        spreads = [
            FigureSpread.of([getattr(one, name) for one in several]).show(digits)
            for name, digits in zip(UNITS, (0, 3, 3, 1), strict=True)
        ]
        table.add_row(store, *spreads)
    yield table
    table = Table("one user", "limit on", "asked", "may pass", "passed", show_edge=False)
    for one in measured.accuracies:
        table.add_row(one.store, one.kind, str(one.asked), str(one.limit), str(one.admitted))
    yield table
    table = Table("store_down", "admitted", "refused", "503", "longest wait ms", "asked again after s", show_edge=False)
    for timeline in measured.timelines:
        counts = [
            str(sum(getattr(step, name) for step in timeline.steps)) for name in ("admitted", "refused", "unavailable")
        ]
        back = ", ".join(f"{seconds:.2f}" for seconds in timeline.recovered_seconds)
        table.add_row(timeline.mode, *counts, f"{longest_ms(timeline):.0f}", back)
    yield table


if __name__ == "__main__":
    sys.exit(main())
