"""How promises are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.results import Line


def promise_table(lines: Iterable[Line]) -> Table:
    """One line for each."""
    table = Table("promise", "measured", "at most", "", show_edge=False)
    for line in lines:
        verdict = "holds" if line.holds else "[bold red]does not hold"
        table.add_row(
            line.what,
            f"{line.measured:.2f} {line.unit}",
            f"{line.at_most:.3g} {line.unit}" if line.at_most < 1 else f"{line.at_most:g} {line.unit}",
            verdict,
        )
    return table
