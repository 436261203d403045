"""docs/benchmarks.md: where it was measured, all promises, then one section per benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.chapters import CHAPTERS, find_section
from benchmarks.report.reading import MEASURED
from gateway_plugin.tools.bench.section import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.report.reading import Folder
    from benchmarks.results import Line, Result

ABOUT = """<!-- Written by `python -m benchmarks.report`; edit the sections in benchmarks/, not this page. -->
# Benchmarks

Everything here was measured by `make bench` ({command}), which measures anew and writes this page, in at most a
quarter of an hour on two cores. `python -m benchmarks.report` writes the page again from the results that there are;
`python -m benchmarks.compare OLD NEW` tells two folders of results apart. For a cluster of your own there is
[`gateway-plugin bench`](benchmarking.md).

Errors and timeouts are counted as failures. Figures are medians of repeats, with their range. Load, client and
gateway share the machine: compare numbers of one table, not of two machines.
"""


def compose(folder: Folder, images: Path) -> str:
    """The whole page; plots go into `images`."""
    parts = [ABOUT.format(command="`python -m benchmarks`"), machines(folder), runs(folder), promises(folder)]
    parts += sections(folder, images)
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def machines(folder: Folder) -> str:
    """One line per machine and commit; more than one is said loudly."""
    places: dict[str, list[str]] = {}
    for name, result in folder.results.items():
        places.setdefault(_place(result), []).append(name)
    lines = [f"- {', '.join(names)}: {place}" for place, names in places.items()]
    if len(places) == 1:
        lines = [f"Measured on {next(iter(places))}."]
    elif places:
        lines.insert(0, "**These results are not of one machine and commit:**\n")
    versions = _versions(folder)
    return "\n".join([*lines, *([f"\nVersions: {versions}."] if versions else [])])


def runs(folder: Folder) -> str:
    """A table of commands: how long each took, how busy the machine was before, and what went wrong."""
    rows = []
    for name in _names(folder):
        result, seconds = folder.results.get(name), folder.seconds(name)
        before = "-" if result is None else f"{result.machine.get('load_average_before', '-')}"
        duration = "-" if seconds is None else f"{seconds:.0f} s"
        rows.append([f"`{_command(name, result)}`", duration, before, _went(folder, name, result)])
    return markdown_table(["command", "took", "load before", "outcome"], rows)


def promises(folder: Folder) -> str:
    """All of them; what does not hold is bold."""
    rows = [
        _promise(name, line) for name in _names(folder) if name in folder.results for line in folder.results[name].lines
    ]
    if not rows:
        return ""
    broken = sum(row[-1] != "yes" for row in rows)
    head = f"{len(rows) - broken} of {len(rows)} hold" + (f"; **{broken} do not**." if broken else ".")
    return f"## Promises\n\n{head}\n\n{markdown_table(['promise', 'measured', 'at most', 'holds'], rows)}"


def sections(folder: Folder, images: Path) -> Iterator[str]:
    """In order; one without a result is named."""
    titles = {chapter.name: chapter.title for chapter in CHAPTERS}
    for name in _names(folder):
        result = folder.results.get(name)
        section = find_section(name) if result else None
        if result and section:
            yield section(result, images)
        elif result and name in titles:
            yield f"## {titles[name]}\n\nMeasured ({name}.json), but without a section of its own."
        elif not result:
            yield f"## {titles[name]}\n\n**Not measured**: {_went(folder, name, None)}."


def _names(folder: Folder) -> list[str]:
    """Chapters first, then whatever else has a result."""
    known = [chapter.name for chapter in CHAPTERS]
    return known + [name for name in folder.results if name not in known]


def _place(result: Result) -> str:
    about = result.machine
    cpu, cpus, kernel = about.get("cpu"), about.get("cpus"), about.get("kernel")
    return f"{cpu}, {cpus} CPUs, Linux {kernel}, Python {about.get('python')}, commit {about.get('commit') or '-'}"


def _versions(folder: Folder) -> str:
    """Of one machine they are the same in all results; the first that has any stands for them."""
    every = (each.machine.get("versions") for each in folder.results.values())
    found: dict[str, str | None] = next((versions for versions in every if versions), {})
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _command(name: str, result: Result | None) -> str:
    if result is not None and result.machine.get("command"):
        return str(result.machine["command"])
    return next((chapter.command for chapter in CHAPTERS if chapter.name == name), name)


def _went(folder: Folder, name: str, result: Result | None) -> str:
    outcome = folder.outcome(name)
    if result is None:
        return outcome or "no result"
    failed = "" if outcome in {"", MEASURED} else f"**{outcome}**; "
    return failed + result.trouble.rstrip(".").lower()


def _promise(name: str, line: Line) -> Sequence[str]:
    measured = "not measured" if line.measured is None else f"{_number(line.measured)} {line.unit}".strip()
    cells = [f"{name}: {line.what}", measured, f"{_number(line.at_most)} {line.unit}".strip(), "yes"]
    return cells if line.holds else [f"**{cell}**" for cell in [*cells[:-1], "no"]]


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
