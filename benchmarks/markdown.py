"""Pieces of Markdown that several sections of the report need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results import Figure, Result

NOT_MEASURED = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns after the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


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
    """Repeats and trouble; where and by which command stands at the head of the page."""
    repeats = "One run." if result.repeats == 1 else f"{result.repeats} repeats: median [least-most]."
    return f"{repeats} {result.trouble}\n"
