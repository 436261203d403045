"""`python -m benchmarks.compare OLD NEW`: what changed beyond noise; two results, or two folders of them.

The rule is in gateway_plugin/tools/bench/comparing.py. Exit code: 0 nothing got worse, 1 something did, 2 cannot
compare.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.results import read
from gateway_plugin.tools.bench.comparing import DEFAULT_THRESHOLD, CompareError, Comparison, FigureChange, compare
from gateway_plugin.tools.bench.results import ResultError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STYLES = {"better": "green", "worse": "bold red", "changed": "yellow", "same": "dim"}
_MAX_NAMES = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table for each benchmark."""
    options = _options(argv)
    console = Console()
    try:
        comparisons = [compare(read(old), read(new), options.threshold) for old, new in pairs(options.old, options.new)]
    except (CompareError, ResultError) as error:
        print(error, file=sys.stderr)
        return 2
    for name in lonely(options.old, options.new):
        console.print(f"{name} is in one of the folders only", style="yellow", markup=False)
    for comparison in comparisons:
        show(comparison, console, every=options.all)
    return 1 if any(comparison.worse for comparison in comparisons) else 0


def pairs(old: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """Two files, or those of the same name in two folders; raises CompareError."""
    if old.is_dir() != new.is_dir():
        raise CompareError(f"{old} and {new}: two files or two folders, please")
    if not old.is_dir():
        yield old, new
        return
    both = sorted({path.name for path in old.glob("*.json")} & {path.name for path in new.glob("*.json")})
    if not both:
        raise CompareError(f"{old} and {new}: no result is in both of them")
    yield from ((old / name, new / name) for name in both)


def lonely(old: Path, new: Path) -> list[str]:
    """Names of results that only one folder has."""
    if not old.is_dir():
        return []
    return sorted({path.name for path in old.glob("*.json")} ^ {path.name for path in new.glob("*.json")})


def show(comparison: Comparison, console: Console, *, every: bool) -> None:
    """What changed, worst first; all else as counts."""
    order = list(_STYLES)
    order.insert(0, order.pop(order.index("worse")))
    table = Table("figure", "old", "new", "new / old", "", title=comparison.name, show_edge=False, title_justify="left")
    for column in table.columns[1:4]:
        column.justify = "right"
    shown = [change for change in comparison.changes if every or change.verdict != "same"]
    for change in sorted(shown, key=lambda change: order.index(change.verdict)):
        table.add_row(*_cells(change), style=_STYLES[change.verdict])
    if shown:
        console.print(table)
    counts = ", ".join(f"{comparison.count(verdict)} {verdict}" for verdict in ("worse", "better", "changed", "same"))
    console.print(f"{comparison.name}: {counts}", highlight=False, style="bold red" if comparison.worse else "")
    for what, texts, style in (
        ("holds no more", comparison.broken_promises, "bold red"),
        ("more errors", comparison.grown_trouble, "bold red"),
        ("new figure", comparison.new, ""),
        ("vanished figure", comparison.vanished, "yellow"),
        ("note", comparison.warnings, "yellow"),
    ):
        _list(what, texts, style, console)


def _list(what: str, texts: Sequence[str], style: str, console: Console) -> None:
    for text in texts[:_MAX_NAMES]:
        console.print(f"  {what}: {text}", style=style, markup=False, highlight=False)
    if len(texts) > _MAX_NAMES:
        console.print(f"  {what}: and {len(texts) - _MAX_NAMES} more", style=style)


def _cells(change: FigureChange) -> tuple[str, ...]:
    ratio = "-" if math.isnan(change.ratio) else f"{change.ratio:.3f}"
    return (f"{change.path}, {change.unit}", _number(change.old), _number(change.new), ratio, change.verdict)


def _number(value: float) -> str:
    return f"{value:,.4g}" if math.isfinite(value) else "failed"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--threshold", type=_threshold, default=DEFAULT_THRESHOLD, help="as 5%% or 0.05; default 5%%")
    parser.add_argument("--all", action="store_true", help="also what stayed the same")
    return parser.parse_args(argv)


def _threshold(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a share like 5% or 0.05")
    return value


if __name__ == "__main__":
    sys.exit(main())
