"""`python -m benchmarks.routing.capacity [NAME...]`: at which rate each workload fills its pods; prints `capacities`.

Requests come half as fast again as they can be answered, and those answered in the middle of the run count. In such a
queue caches are of little use, so the rate is then raised for as long as `prefix-cache-and-load` keeps its queues: the
mean time to first token in the last quarter of the requests is not above twice that in the second, and 0.3 s.
Closed work: the sessions at which a quarter more bring less than half of that.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.routing.cluster import Cluster
from benchmarks.routing.report import Times
from benchmarks.routing.works import WORKS

if TYPE_CHECKING:
    from benchmarks.routing.report import Report
    from benchmarks.routing.works import Work

_REQUESTS = 1200
_SEED = 7
# Knows caches and open requests, and is cheap.
_JUDGE = "dynamo: kv"
_KEEPER = "prefix-cache-and-load"


def capacity(work: Work) -> float:
    """Requests a second, or sessions."""
    if work.is_closed:
        return _sessions(work)
    guess = 4.0 * len(work.fleet)
    for _ in range(3):
        guess = _answered_per_second(_report(work, _REQUESTS, 1.5 * guess))
    return _raised(work, guess)


def _raised(work: Work, kept: float) -> float:
    lost = kept
    while _keeps(work, lost := 1.3 * lost):
        kept = lost
    for _ in range(3):
        middle = (kept + lost) / 2
        kept, lost = (middle, lost) if _keeps(work, middle) else (kept, middle)
    return kept


def _keeps(work: Work, per_second: float) -> bool:
    served = sorted(_report(work, _REQUESTS, per_second, _KEEPER).served, key=lambda each: each.arrival.at_seconds)
    quarter = len(served) // 4
    early, late = (
        Times.of(each.ttft_seconds for each in part) for part in (served[quarter : 2 * quarter], served[-quarter:])
    )
    return late.mean <= 2.0 * early.mean + 0.3


def _sessions(work: Work) -> float:
    sessions = float(2 * len(work.fleet))
    rate = _closed_rate(work, sessions)
    while True:
        more = _closed_rate(work, 1.25 * sessions)
        if more < rate * 1.125:
            return sessions
        sessions, rate = 1.25 * sessions, more


def _closed_rate(work: Work, sessions: float) -> float:
    return _answered_per_second(_report(work, int(24 * sessions), sessions))


def _report(work: Work, requests: int, per_second: float, strategy: str = _JUDGE) -> Report:
    cluster = Cluster(strategy, work.fleet, _SEED, adapters=work.adapters)
    return cluster.run(work.generate(requests, per_second, _SEED))


def _answered_per_second(report: Report) -> float:
    ends = sorted(each.arrival.at_seconds + each.duration_seconds for each in report.served)
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first])


def main() -> None:
    """Prints the table's lines."""
    for name in sys.argv[1:] or WORKS:
        print(f'    "{name}": {capacity(WORKS[name]):.3g},', flush=True)


if __name__ == "__main__":
    main()
