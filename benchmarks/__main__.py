"""`make bench`: all benchmarks, one after another, in at most 15 minutes; then the report and a summary.

Exit code: 0 all were measured and no request failed, 1 otherwise, 130 stopped by hand. Which promises do not hold, the
report says, as it names what was not measured. The documentation is written by whole runs only; that of others lies
beside their results.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.chapters import CHAPTERS, TOTAL_SECONDS, Chapter
from benchmarks.report.__main__ import write_report
from benchmarks.report.reading import MEASURED, RUN, read_folder
from benchmarks.results import ROOT, Figure, Result, machine, today, write
from benchmarks.running_all import Outcome, run_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report.reading import Folder

LOGS = ROOT / "build/bench"
EXIT_BY_HAND = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and reports."""
    options = _options(argv)
    out = options.out or today()
    chapters = [chapter for chapter in CHAPTERS if not options.only or chapter.name in options.only]
    outcomes: list[Outcome] = []
    try:
        measure(chapters, out, ["--quick"] if options.quick else [], outcomes)
        code = 0 if all(outcome.ok for outcome in outcomes) else 1
    except KeyboardInterrupt:
        code = EXIT_BY_HAND
    write(result_of(chapters, outcomes), out)
    is_whole = not options.quick and not options.only and code != EXIT_BY_HAND
    written = write_report(out, ROOT if is_whole else out / "report")
    summary(outcomes, read_folder(out), written, Console())
    return code


def measure(chapters: Sequence[Chapter], out: Path, arguments: list[str], outcomes: list[Outcome]) -> None:
    """One bar for all: of the time that they may take. Adds to `outcomes` as it goes."""
    total = sum(chapter.seconds for chapter in chapters)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("of at most {task.total:.0f} s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def tick(chapter: Chapter, seconds: float) -> None:
            done = sum(each.seconds for each in chapters[: len(outcomes)])
            text = f"{chapter.name} ({len(outcomes) + 1} of {len(chapters)})"
            progress.update(task, description=text, completed=done + min(seconds, chapter.seconds))

        for outcome in run_all(chapters, out, LOGS, arguments, tick):
            outcomes.append(outcome)
            progress.console.print(f"{outcome.name}: {outcome.said}, {outcome.seconds:.0f} s", highlight=False)


def result_of(chapters: Sequence[Chapter], outcomes: Sequence[Outcome]) -> Result:
    """The run as a result: the report names from it what was not measured, and why."""
    said = {chapter.name: "not run: stopped by hand" for chapter in chapters}
    said |= {outcome.name: outcome.said for outcome in outcomes}
    return Result(
        name=RUN,
        machine=machine(),
        load={"total_seconds_at_most": TOTAL_SECONDS},
        repeats=1,
        figures=[Figure(f"{each.name}/duration", "s", (round(each.seconds, 1),), "neither") for each in outcomes],
        errors={f"{name}: {text}": 1 for name, text in said.items() if text != MEASURED},
        series={"outcomes": said, "seconds": {each.name: round(each.seconds, 1) for each in outcomes}},
    )


def summary(outcomes: Sequence[Outcome], folder: Folder, written: Sequence[Path], console: Console) -> None:
    """One screen."""
    table = Table("benchmark", "took", "promises kept", "errors", "timeouts", "outcome", show_edge=False)
    for outcome in outcomes:
        result = folder.results.get(outcome.name)
        numbers = ["-", "-", "-"]
        if result is not None:
            kept = sum(line.holds for line in result.lines)
            numbers = [f"{kept} of {len(result.lines)}", str(sum(result.errors.values())), str(result.timeouts)]
        style = "" if outcome.ok else "bold red"
        table.add_row(outcome.name, f"{outcome.seconds:.0f} s", *numbers, outcome.said, style=style)
    console.print(table)
    for name, result in folder.results.items():
        for line in result.lines:
            if not line.holds:
                measured = "not measured" if line.measured is None else f"{line.measured:.4g} {line.unit}"
                text = f"does not hold: {name}: {line.what}: {measured}, at most {line.at_most:g}"
                console.print(text, style="red", markup=False, highlight=False)
    seconds = sum(outcome.seconds for outcome in outcomes)
    names = ", ".join(str(path) for path in written)
    console.print(f"{seconds:.0f} s in all; results in {folder.path}, logs in {LOGS}; wrote {names}", highlight=False)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="folder of results (benchmarks/results/<date>)")
    parser.add_argument(
        "--quick", action="store_true", help="smoke runs, whose figures mean nothing; writes no documentation"
    )
    names = [chapter.name for chapter in CHAPTERS]
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"some of {', '.join(names)}; writes no documentation"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what it started ends with it
    sys.exit(main())
