"""A result as people read it: rows of a table with a column per strategy, and what must be said beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.tools.bench.summary import FAILED, METRICS, NAMELESS

if TYPE_CHECKING:
    from gateway_plugin.tools.bench.results import Figure, FigureSpread, Result

_DIGITS = 3
FEW = 100


def labels(result: Result) -> list[str]:
    """Strategies, in the order in which they were asked."""
    return list(result.series)


def rows(result: Result) -> list[list[str]]:
    """What, then one cell per strategy; first what became of the requests, then every metric that anyone has."""
    table = [[name, *(f"{series[key]:,}" for series in result.series.values())] for name, key in _COUNTS]
    figures = {figure.path: figure for figure in result.figures}
    for metric in METRICS:
        found = [figures.get(f"{label}/{metric.name}") for label in labels(result)]
        if any(found):
            failed = [figures.get(f"{label}/{FAILED}") for label in labels(result)]
            cells = [cell(figure, share) for figure, share in zip(found, failed, strict=True)]
            table.append([f"{metric.name}, {metric.unit}", *cells])
    return [row for row in table if row[0] != "unfinished" or any(each != "0" for each in row[1:])]


def cell(figure: Figure | None, failed: Figure | None) -> str:
    """Median and range; of a quantile that is infinite, why."""
    if figure is None:
        return "-"
    known = [value for value in figure.values if value is not None]
    if len(known) == len(figure.values):
        return number(figure.spread)
    percent = figure.path.rpartition(" p")[2]
    broken = failed is not None and any(failed.values) and percent.isdigit()
    why = f"more than {100 - int(percent)} % failed" if broken else "beyond the end"
    return f"{why} ({number(figure.spread)} in others)" if known else why


def number(spread: FigureSpread) -> str:
    """Three digits that count."""
    largest = abs(spread.most)
    digits = 0 if largest >= 100 or not largest else 1 if largest >= 10 else 2 if largest >= 1 else _DIGITS
    return spread.show(digits)


def warnings(result: Result) -> list[str]:
    """What a reader must know before any number, most important first."""
    found = [_line_warning(line.what, line.measured, line.unit) for line in result.lines if not line.holds]
    for label, series in result.series.items():
        found += [f"{label}: {text}" for text in _series_warnings(label, series)]
    return found


def kinds(result: Result) -> list[str]:
    """Every kind of failure with its first message."""
    return [
        f"{label}: {count:,} x {kind}" + (f": {message}" if (message := series["messages"].get(kind)) else "")
        for label, series in result.series.items()
        for kind, count in sorted(series["troubles"].items(), key=lambda item: -item[1])
    ]


_COUNTS = (("sent", "sent"), ("answered", "answered"), ("unfinished", "unfinished"))


def _line_warning(what: str, measured: float | None, unit: str) -> str:
    shown = "not known" if measured is None else f"{measured:.0f} {unit}"
    advice = "Latencies include its own delays; send less, or from more machines."
    return f"THE GENERATOR DID NOT KEEP UP: {what}: {shown}. {advice}"


def _series_warnings(label: str, series: dict[str, Any]) -> list[str]:
    found = []
    if series["stopped"]:
        found.append(f"ended early: {series['stopped']}")
    if series["unfinished"]:
        found.append(
            f"{series['unfinished']:,} requests were under way at the end; they count as slower than they had waited"
        )
    other = {name: count for name, count in series["named"].items() if name != label}
    if label != NAMELESS and other:
        found.append("the gateway used other strategies: " + ", ".join(f"{name} x {n:,}" for name, n in other.items()))
    if label != NAMELESS and not series["named"] and series["answered"]:
        found.append("no answer names a strategy (header routing-strategy): nothing shows that this one was used")
    if series["sent"] < FEW:
        found.append(f"p99 of {series['sent']:,} requests is the slowest of them, or nearly; send some {10 * FEW:,}")
    if series["tokens_estimated"]:
        found.append(f"{series['tokens_estimated']:,} answers without usage; their tokens are events of the stream")
    return found
