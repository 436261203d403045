"""The numbers of one run, from its samples. Latencies are over all requests: those that failed are infinitely slow."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gateway_plugin.tools.bench.quantiles import Distribution
from gateway_plugin.tools.bench.sample import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from gateway_plugin.tools.bench.results import Better
    from gateway_plugin.tools.bench.sample import Sample
    from gateway_plugin.tools.bench.tally import Tally

NAMELESS = "default"
"""How the gateway's own choice of strategy is called."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a client calls good service, in seconds."""

    ttft_seconds: float = 2.0
    tpot_seconds: float = 0.1

    def met(self, sample: Sample) -> bool:
        """Answered in whole, with the first content and those after it in time."""
        if not sample.ok or sample.first_seconds is None:
            return False
        return sample.first_seconds <= self.ttft_seconds and (sample.tpot_seconds or 0.0) <= self.tpot_seconds


class Summary:
    """One run. `pods` are all that any run has seen: one that got nothing counts for the skew."""

    def __init__(self, tally: Tally, objective: Objective, pods: Collection[str], *, streamed: bool = True) -> None:
        self.tally = tally
        self.streamed = streamed
        self.objective = objective
        self._pods = pods
        self.answered = [sample for sample in tally.samples if sample.ok]
        self.unfinished = [sample for sample in tally.samples if sample.trouble == UNFINISHED]
        self.failed = len(tally.samples) - len(self.answered) - len(self.unfinished)

    @cached_property
    def ttft(self) -> Distribution:
        """Seconds to the first content; no values without streams."""
        if not self.streamed:
            return Distribution([])
        known = [each.first_seconds for each in self.answered + self.unfinished if each.first_seconds is not None]
        waited = [each.total_seconds for each in self.unfinished if each.first_seconds is None]
        return Distribution(known, self.failed, waited)

    @cached_property
    def total(self) -> Distribution:
        """Seconds to the end."""
        known = [each.total_seconds for each in self.answered]
        return Distribution(known, self.failed, [each.total_seconds for each in self.unfinished])

    @cached_property
    def tpot(self) -> Distribution:
        """Seconds per token after the first; of answers with at least two."""
        known = [value for each in self.answered if (value := each.tpot_seconds) is not None]
        return Distribution(known, self.failed if known else 0)

    @cached_property
    def pods(self) -> dict[str, int]:
        """Requests per pod, of those whose answer names one; empty when none does."""
        counts = Counter(sample.pod for sample in self.tally.samples if sample.pod)
        return {pod: counts[pod] for pod in sorted(self._pods)} if counts else {}

    @property
    def skew(self) -> float:
        """Requests of the busiest pod over the mean of all: 1 is even."""
        return max(self.pods.values()) * len(self.pods) / sum(self.pods.values()) if self.pods else math.nan

    @property
    def good(self) -> int:
        """Requests that met the objective."""
        return sum(map(self.objective.met, self.tally.samples))

    @property
    def cached_share(self) -> float:
        """Of prompt tokens, in answers that say it."""
        known = [each for each in self.answered if each.cached_tokens is not None and each.prompt_tokens]
        return _share(sum(each.cached_tokens or 0 for each in known), sum(each.prompt_tokens for each in known))

    @property
    def late_p99_seconds(self) -> float:
        """How late requests were sent."""
        late = [sample.late_seconds for sample in self.tally.samples]
        return float(np.quantile(late, 0.99)) if late else math.nan

    def per_second(self, count: float) -> float:
        """Over the whole run, the waiting for the last answers included."""
        return _share(count, self.tally.seconds)


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of every table."""

    name: str
    unit: str
    better: Better
    of: Callable[[Summary], float]


def _quantiles(
    name: str, unit: str, factor: float, of: Callable[[Summary], Distribution], *percents: int
) -> Iterable[Metric]:
    for percent in percents:

        def quantile(summary: Summary, share: float = percent / 100) -> float:
            return of(summary).quantile(share) * factor

        yield Metric(f"{name} p{percent}", unit, "lower", quantile)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


METRICS: tuple[Metric, ...] = (
    *_quantiles("TTFT", "ms", 1e3, lambda run: run.ttft, 50, 90, 99),
    *_quantiles("TPOT", "ms", 1e3, lambda run: run.tpot, 50, 99),
    Metric("between contents p50", "ms", "lower", lambda run: run.tally.gaps.quantile(0.5) * 1e3),
    Metric("between contents p99", "ms", "lower", lambda run: run.tally.gaps.quantile(0.99) * 1e3),
    *_quantiles("end-to-end", "s", 1.0, lambda run: run.total, 50, 90, 99),
    Metric("answered", "requests/s", "higher", lambda run: run.per_second(len(run.answered))),
    Metric(
        "output", "tokens/s", "higher", lambda run: run.per_second(sum(each.output_tokens for each in run.answered))
    ),
    Metric(
        "goodput",
        "requests/s",
        "higher",
        lambda run: run.per_second(run.good) if run.streamed else math.nan,
    ),
    Metric("failed", "%", "lower", lambda run: 100 * _share(run.failed, run.failed + len(run.answered))),
    Metric("cached prompt tokens", "%", "higher", lambda run: 100 * run.cached_share),
    Metric("skew", "busiest / mean", "lower", lambda run: run.skew),
    Metric("sent late p99", "ms", "neither", lambda run: run.late_p99_seconds * 1e3),
)
FAILED, SKEW = "failed", "skew"
