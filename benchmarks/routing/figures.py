"""A report in numbers: what is compared between strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.fairness import user_fairness

if TYPE_CHECKING:
    from benchmarks.routing.report import Report, Served
    from gateway_plugin.tools.bench.results import Better

SLO_TTFT_SECONDS = 2.0
SLO_TPOT_SECONDS = 0.05
SLO = f"TTFT <= {SLO_TTFT_SECONDS:g} s and TPOT <= {1000 * SLO_TPOT_SECONDS:g} ms"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a number means."""

    unit: str
    better: Better
    digits: int = 2
    all_seeds: bool = False
    """Whether the result keeps it for every seed, to be compared between runs; of the others it keeps the median."""


KINDS: dict[str, Kind] = {
    "TTFT mean": Kind("s", "lower", 3, all_seeds=True),
    "TTFT p50": Kind("s", "lower", 3),
    "TTFT p99": Kind("s", "lower", 2, all_seeds=True),
    "end to end mean": Kind("s", "lower", 2, all_seeds=True),
    "end to end p99": Kind("s", "lower", 2),
    "output tokens": Kind("/s", "higher", 0),
    "token hits": Kind("%", "higher", 1, all_seeds=True),
    "request skew": Kind("x mean", "lower"),
    "prefill skew": Kind("x mean", "lower"),
    "fairness": Kind("Jain", "higher", 3),
    "goodput": Kind("%", "higher", 1, all_seeds=True),
    "good requests": Kind("/s", "higher", 1),
    "light users' TTFT p50": Kind("s", "lower", 2),
    "fast pods' share": Kind("x share by speed", "neither"),
    "refused": Kind("", "lower", 0),
    "failed": Kind("", "lower", 0),
}

Figures = dict[str, float]


def figures(report: Report, fast_pods: int = 0) -> Figures:
    """One number of each kind; NaN where it has no meaning. Goodput counts refused and failed requests as bad."""
    sent = len(report.served) + report.refused + report.failed
    good = sum(map(meets_slo, report.served))
    seconds = _makespan_seconds(report)
    return {
        "TTFT mean": report.ttft.mean,
        "TTFT p50": report.ttft.p50,
        "TTFT p99": report.ttft.p99,
        "end to end mean": report.duration.mean,
        "end to end p99": report.duration.p99,
        "output tokens": sum(each.arrival.output_tokens for each in report.served) / seconds,
        "token hits": 100.0 * report.token_hit_ratio,
        "request skew": report.request_skew,
        "prefill skew": report.prefill_skew,
        "fairness": user_fairness(report),
        "goodput": 100.0 * good / sent if sent else float("nan"),
        "good requests": good / seconds,
        "light users' TTFT p50": _light_ttft_seconds(report),
        "fast pods' share": fast_share(report, fast_pods) if fast_pods else float("nan"),
        "refused": report.refused,
        "failed": report.failed,
    }


def meets_slo(served: Served) -> bool:
    """Whether the answer came in time; a single token has no time per token."""
    return served.ttft_seconds <= SLO_TTFT_SECONDS and (served.tpot_seconds or 0.0) <= SLO_TPOT_SECONDS


def fast_share(report: Report, fast_pods: int, speed: float = 2.0) -> float:
    """Work of the first pods over what is theirs by speed: 1 is exactly that. Work is computed prompt and output."""
    fast = set(report.addresses[:fast_pods])
    work = {True: 0, False: 0}
    for each in report.served:
        work[each.address in fast] += each.computed_tokens + each.arrival.output_tokens
    total = sum(work.values())
    by_speed = fast_pods * speed / (fast_pods * speed + len(report.addresses) - fast_pods)
    return work[True] / total / by_speed if total else float("nan")


def _makespan_seconds(report: Report) -> float:
    """From the first arrival to the last answer's end."""
    begins = [each.arrival.at_seconds for each in report.served]
    ends = [each.arrival.at_seconds + each.duration_seconds for each in report.served]
    return max(ends) - min(begins) if ends else float("nan")


def _light_ttft_seconds(report: Report) -> float:
    """Median over the requests of all users but the one who asked for most; NaN where nobody asked for half."""
    users = [each.arrival.user for each in report.served]
    names, counts = np.unique(users, return_counts=True) if users else (np.array([""]), np.array([0]))
    if len(names) < 2 or 2 * counts.max() < len(users):
        return float("nan")
    heaviest = names[counts.argmax()]
    return float(np.median([each.ttft_seconds for each in report.served if each.arrival.user != heaviest]))
