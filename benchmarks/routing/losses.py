"""Where each strategy loses, by how much, and what in its nature makes it lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.routing.figures import KINDS

if TYPE_CHECKING:
    from benchmarks.routing.outcome import Numbers

TOLERANCE = 1.05
"""A strategy within 5 % of the best has not lost."""
TAIL = "TTFT p99"
OTHERS = ("TTFT mean", "end to end mean", "goodput", "fairness", "light users' TTFT p50")
REASONS = {
    "random": "It sees neither load nor caches; some pod is always unlucky.",
    "least-request": "It counts requests, not their work: long and short prompts, cached and new ones are one each.",
    "throughput": "It adds up the tokens of the last minute, done or not, cached or not: an idle pod that worked hard "
    "is avoided, and a fast one gets no more than the others.",
    "least-busy-time": "A pod with one request is as busy as one with fifty; only its small tie-break, which is "
    "least-request, tells them apart. It sees no caches.",
    "least-kv-cache": "Memory in use is not work that waits: what stands in an engine's queue holds none yet, and what "
    "the prefix cache keeps does not count.",
    "least-latency": "It counts every prompt as if nothing of it were cached, and prefers pods of small measured TPOT "
    "so much that they fill up before the measurement follows.",
    "least-utilization": "The fullest of three resources says little while all are half empty, and it counts requests, "
    "not their work.",
    "prefix-cache": "Its load bound counts requests, not their work: it leaves a match too early or too late, and "
    "without a match it is least-request.",
    "prefix-cache-and-load": "It treats all users alike: who floods delays the others. It weighs first tokens, and "
    "answers under way slow down when a prompt joins them.",
    "vtc-basic": "It keeps who took much on few pods, for the others' sake: the tail belongs to that user. It sees no "
    "caches.",
    "power-of-two": "The better of two is not the best of all, and it counts requests as least-request does.",
    "session-affinity": "A session stays where it is, whatever waits there; without a session it is random.",
}


@dataclass(frozen=True, slots=True)
class Loss:
    """One number of one strategy under one workload, and the best one there."""

    workload: str
    kind: str
    value: float
    best: float
    best_strategy: str

    @property
    def factor(self) -> float:
        """How many times worse than the best; infinite for nothing against something."""
        worse, better = (self.best, self.value) if KINDS[self.kind].better == "higher" else (self.value, self.best)
        return worse / better if better else float("inf")

    def __str__(self) -> str:
        unit, digits = KINDS[self.kind].unit, KINDS[self.kind].digits
        return f"{self.value:,.{digits}f} {unit} against {self.best:,.{digits}f} {unit} by {self.best_strategy}"


def losses(numbers: Numbers, strategy: str, kind: str) -> list[Loss]:
    """Every workload under which a strategy is more than 5 % behind the best, worst first."""
    found = []
    for workload in numbers.workloads:
        value = numbers(workload, strategy, kind)
        if value is not None:
            best_strategy, best = numbers.best(workload, kind)
            found.append(Loss(workload, kind, value, best, best_strategy))
    return sorted((loss for loss in found if loss.factor > TOLERANCE), key=lambda loss: -loss.factor)


def loss_lines(numbers: Numbers) -> list[str]:
    """One line of Markdown per strategy: every loss by p99 TTFT, and the worst by every other kind."""
    return [_line(numbers, strategy) for strategy in numbers.strategies]


def _line(numbers: Numbers, strategy: str) -> str:
    tails = losses(numbers, strategy, TAIL)
    text = f"- **{strategy}** is within 5 % of the best p99 TTFT on every workload."
    if tails:
        listed = ", ".join(f"{loss.workload} {_times(loss)}" for loss in tails)
        text = f"- **{strategy}** loses by p99 TTFT on {len(tails)} of {len(numbers.workloads)} workloads: {listed}."
    worst = [found[0] for kind in OTHERS if (found := losses(numbers, strategy, kind))]
    if worst:
        text += " Its worst by " + "; ".join(f"{loss.kind}, {loss.workload}: {loss}" for loss in worst) + "."
    return f"{text} {REASONS[strategy]}" if tails or worst else text


def _times(loss: Loss) -> str:
    return f"{loss.factor:,.1f}x" if loss.factor >= 1.95 else f"+{100 * (loss.factor - 1):.0f} %"
