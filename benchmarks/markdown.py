"""Pieces of Markdown that several sections of the report need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results import Figure, Line, Result

NOT_MEASURED = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns after the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def promises(lines: Sequence[Line]) -> str:
    """What was promised, and whether it holds; empty where nothing was."""
    if not lines:
        return ""
    return table(("promise", "measured", "at most", "holds"), (_promise(line) for line in lines))


def _promise(line: Line) -> tuple[str, str, str, str]:
    measured = NOT_MEASURED if line.measured is None else f"{line.measured:,.2f} {line.unit}".strip()
    at_most = f"{line.at_most:.3g}" if line.at_most < 1 else f"{line.at_most:,g}"
    return line.what, measured, f"{at_most} {line.unit}".strip(), "yes" if line.holds else "**no**"


def show(result: Result, path: str, digits: int = 0) -> str:
    """A figure with its range, or a dash."""
    figure = figures(result).get(path)
    if figure is None or all(value is None for value in figure.values):
        return NOT_MEASURED
    return figure.spread.show(digits)


def figures(result: Result) -> dict[str, Figure]:
    """By path."""
    return {figure.path: figure for figure in result.figures}


def how(result: Result) -> str:
    """Command, repeats and trouble, in one line."""
    repeats = "one run" if result.repeats == 1 else f"{result.repeats} repeats, median and [least-most]"
    about = result.machine
    return (
        f"`{about['command']}` on {about['cpus']} CPUs ({about['cpu']}), commit {about['commit']}, load average before"
        f" {about['load_average_before']}; {repeats}. {result.trouble}\n"
    )
