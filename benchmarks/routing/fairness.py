"""How fairly users were served: Jain's index of service received over service due.

    J = (sum x)^2 / (n * sum x^2),  x = received / due;  1 is fair, 1/n is all for one      (Jain, Chiu, Hawe 1984)

Received are a request's weighted tokens (prompt + 2 * output, as VTC counts), times how fast it was answered: the time
that an idle, empty pod takes over the time that it took, at most 1. Due is what a max-min fair division of all that was
received would have given: everybody what they asked for, or an equal share of what those leave who asked for less.
So a light user who waits behind a flooding one makes the index small, however equally both wait.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from simulator import EngineConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.routing.report import Report
    from benchmarks.routing.workloads import Arrival

_ENGINE = EngineConfig()


def jain(shares: Sequence[float]) -> float:
    """1 for equal ones, also when all are 0 or there are none."""
    squares = sum(share**2 for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def max_min(demands: Mapping[str, float], total: float) -> dict[str, float]:
    """A fair division: nobody gets more than asked for, and who gets less gets as much as any other."""
    due: dict[str, float] = {}
    left = total
    for number, (user, demand) in enumerate(sorted(demands.items(), key=lambda each: each[1])):
        due[user] = min(demand, left / (len(demands) - number))
        left -= due[user]
    return due


def user_fairness(report: Report) -> float:
    """Jain's index over the users of a report; NaN for fewer than two."""
    demands: dict[str, float] = defaultdict(float)
    received: dict[str, float] = defaultdict(float)
    for each in report.served:
        tokens = each.arrival.prompt_tokens + 2 * each.arrival.output_tokens
        demands[each.arrival.user] += tokens
        received[each.arrival.user] += tokens * min(1.0, alone_seconds(each.arrival) / each.duration_seconds)
    if len(demands) < 2:
        return float("nan")
    due = max_min(demands, sum(received.values()))
    return jain([received[user] / tokens for user, tokens in due.items() if tokens])


def alone_seconds(arrival: Arrival, config: EngineConfig = _ENGINE) -> float:
    """From arrival to the last token on an idle pod that has nothing cached (the formulas of `simulator.engine`)."""
    steps = -(-arrival.prompt_tokens // config.max_batched_tokens)
    prefill = steps * config.decode_base_seconds + arrival.prompt_tokens * config.prefill_seconds_per_token
    return config.prefill_overhead_seconds + prefill + (arrival.output_tokens - 1) * config.step_seconds(0, 1)
