"""The routing part of the report: tables, plots, and where each strategy loses. Made from the result alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.routing import drawing
from benchmarks.routing.figures import KINDS
from benchmarks.routing.losses import loss_lines
from benchmarks.routing.outcome import Numbers
from benchmarks.routing.scenarios import MOONCAKE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Line, Result

_HEADINGS = {
    "TTFT mean, p50, p99 (s)": ("TTFT mean", "TTFT p50", "TTFT p99"),
    "end to end mean, p99 (s)": ("end to end mean", "end to end p99"),
    "output tokens/s": ("output tokens",),
    "token hits (%)": ("token hits",),
    "skew of requests, prefill": ("request skew", "prefill skew"),
    "fairness": ("fairness",),
    "goodput (%, /s)": ("goodput", "good requests"),
    "refused, failed": ("refused", "failed"),
    "TTFT p50 of light users (s)": ("light users' TTFT p50",),
    "fast pods' work / share by speed": ("fast pods' share",),
}


def section(result: Result, images: Path) -> str:
    """Markdown; saves its plots."""
    numbers = Numbers.of(result)
    plots = drawing.save_all(numbers, images)
    parts = [
        "## Routing: what each strategy makes of the same traffic",
        _introduction(numbers),
        *(f"![{text}](images/{path.name})" for text, path in plots.items()),
        _promises(result.lines),
        *(_table(numbers, workload) for workload in numbers.workloads),
        _losses(numbers),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(numbers: Numbers) -> str:
    result = numbers.result
    seeds = f"{result.repeats} seeds" if result.repeats > 1 else "one seed"
    return (
        "Virtual time: simulated engines ([what they model and what not](simulator.md)) behind the real pod table, "
        "prefix index and strategies, fed with the signals that a gateway gets, as late as it gets them. All "
        f"strategies meet the same arrivals; numbers are medians of {seeds}. {_source(numbers)} An answer is good when "
        f"{result.load['slo']}. Fairness is Jain's index of service received over service due. {result.trouble}\n\n"
        f"```sh\n{result.machine['command']}\n```"
    )


def _source(numbers: Numbers) -> str:
    if any(workload == MOONCAKE for workload in numbers.workloads):
        return "`mooncake` replays a file published by the authors of Mooncake (FAST'25)."
    if any(workload == f"{MOONCAKE}-like" for workload in numbers.workloads):
        return "Mooncake's trace was not there: `mooncake-like` is generated to resemble it."
    return ""


def _promises(lines: list[Line]) -> str:
    if not lines:
        return ""
    rows = [
        f"| {line.what} | {_plain(line.measured)} | {line.at_most:g} | {'yes' if line.holds else '**no**'} |"
        for line in lines
    ]
    held = sum(line.holds for line in lines)
    head = f"**What `prefix-cache-and-load` promises**: {held} of {len(lines)} hold."
    return "\n".join([head, "", "| promise | measured | at most | holds |", "|---|---|---|---|", *rows])


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(numbers: Numbers, workload: str) -> str:
    headings = {
        heading: kinds
        for heading, kinds in _HEADINGS.items()
        if any(numbers(workload, strategy, kinds[0]) is not None for strategy in numbers.strategies)
    }
    rows = [
        f"| {strategy} | {' | '.join(_cell(numbers, workload, strategy, kinds) for kinds in headings.values())} |"
        for strategy in numbers.strategies
    ]
    title = f"**{workload}**: {numbers.workloads[workload]}"
    return "\n".join([title, "", f"| strategy | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|", *rows])


def _cell(numbers: Numbers, workload: str, strategy: str, kinds: tuple[str, ...]) -> str:
    return ", ".join(show(numbers(workload, strategy, kind), kind) for kind in kinds)


def show(value: float | None, kind: str) -> str:
    """A number with the digits that its kind deserves; a dash for none."""
    return "-" if value is None else f"{value:,.{KINDS[kind].digits}f}"


def _losses(numbers: Numbers) -> str:
    head = "**Where each strategy loses**: more than 5 % behind the best, by how much, and why."
    return "\n".join([head, "", *loss_lines(numbers)])
