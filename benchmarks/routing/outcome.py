"""From outcomes to the common form of results, and back to numbers by workload, strategy and kind."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.results import Figure, Result, machine
from benchmarks.routing.figures import KINDS, SLO
from benchmarks.routing.measuring import CDF_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.routing.measuring import Outcomes
    from benchmarks.routing.scenarios import Scenario

CDF_STRATEGIES = ("prefix-cache-and-load", "prefix-cache", "least-request", "session-affinity", "random")
"""Whose distributions are kept: the file stays small, and the plots readable."""


def result(scenarios: Sequence[Scenario], strategies: Sequence[str], seeds: int, outcomes: Outcomes) -> Result:
    """Everything but the promises and the curves over load."""
    names = [scenario.name for scenario in scenarios]
    return Result(
        name="routing",
        machine=machine(),
        load={
            "workloads": {scenario.name: scenario.title for scenario in scenarios},
            "unshared": [scenario.name for scenario in scenarios if not scenario.shares_prefixes],
            "strategies": list(strategies),
            "seeds": seeds,
            "slo": SLO,
        },
        repeats=seeds,
        figures=[
            Figure(
                f"{name}/{strategy}/{kind}",
                KINDS[kind].unit,
                tuple(_rounded(outcomes[name, strategy, seed].figures[kind]) for seed in range(seeds)),
                KINDS[kind].better,
            )
            for name in names
            for strategy in strategies
            for kind in KINDS
            if KINDS[kind].all_seeds
        ],
        errors={
            kind: int(sum(outcome.figures[kind] for outcome in outcomes.values())) for kind in ("refused", "failed")
        },
        series={
            "medians": {
                name: {
                    kind: [_median(outcomes, name, strategy, kind, seeds) for strategy in strategies]
                    for kind in KINDS
                    if not KINDS[kind].all_seeds
                }
                for name in names
            },
            "ttft_quantiles_seconds": {
                name: {
                    strategy: [_rounded(seconds) for seconds in outcomes[name, strategy, 0].ttft_quantiles_seconds]
                    for strategy in strategies
                    if strategy in CDF_STRATEGIES
                }
                for name in names
            },
            "quantiles": CDF_POINTS,
        },
    )


def load_curves(outcomes: Outcomes, by_rate: dict[float, Scenario], strategies: Sequence[str]) -> dict[str, Any]:
    """p99 TTFT against offered load, of the first seed."""
    return {
        "requests_per_second": list(by_rate),
        "ttft_p99_seconds": {
            strategy: [
                _rounded(outcomes[scenario.name, strategy, 0].figures["TTFT p99"]) for scenario in by_rate.values()
            ]
            for strategy in strategies
        },
    }


def _median(outcomes: Outcomes, name: str, strategy: str, kind: str, seeds: int) -> float | None:
    values = [outcomes[name, strategy, seed].figures[kind] for seed in range(seeds)]
    return _rounded(statistics.median(values))


def _rounded(value: float) -> float | None:
    """Four digits, or None for what has no meaning."""
    return float(f"{value:.4g}") if value == value else None


@dataclass(frozen=True, slots=True)
class Numbers:
    """A result by workload, strategy and kind: the median of the seeds, None where it has no meaning."""

    result: Result
    _figures: dict[str, float | None]

    @classmethod
    def of(cls, result: Result) -> Numbers:
        """Looks everything up once."""
        figures: dict[str, float | None] = {}
        for figure in result.figures:
            known = [value for value in figure.values if value is not None]
            figures[figure.path] = statistics.median(known) if known else None
        for name, kinds in result.series["medians"].items():
            for kind, values in kinds.items():
                for strategy, value in zip(result.load["strategies"], values, strict=True):
                    figures[f"{name}/{strategy}/{kind}"] = value
        return cls(result, figures)

    def __call__(self, workload: str, strategy: str, kind: str) -> float | None:
        """Raises KeyError for what was not measured."""
        return self._figures[f"{workload}/{strategy}/{kind}"]

    @property
    def workloads(self) -> dict[str, str]:
        """Names and titles."""
        workloads: dict[str, str] = self.result.load["workloads"]
        return workloads

    @property
    def strategies(self) -> list[str]:
        """In the order of the tables."""
        strategies: list[str] = self.result.load["strategies"]
        return strategies

    def best(self, workload: str, kind: str) -> tuple[str, float]:
        """Who is best, and how good."""
        sign = -1.0 if KINDS[kind].better == "higher" else 1.0
        known = {s: v for s in self.strategies if (v := self(workload, s, kind)) is not None}
        name = min(known, key=lambda strategy: sign * known[strategy])
        return name, known[name]

    def ratio(self, workload: str, strategy: str, other: str, kind: str) -> float | None:
        """One strategy's number over another's."""
        value, base = self(workload, strategy, kind), self(workload, other, kind)
        return value / base if value is not None and base else None
