"""`python -m benchmarks.routing.capacity [NAME...]`: at which rate each workload fills its pods; prints `capacities`.

The highest rate at which `prefix-cache-and-load` keeps its queues over two minutes: the time to first token, in the
mean of the last quarter of the requests, is at most 1.5 s, and at most half above that of the second quarter, and
0.3 s; and so for the whole time, and 1 s. Closed work: the sessions at which a quarter more bring less than half of
that. The strategy was that of November 27, 2026, before its cost was learned: rates do not move with it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.routing.cluster import Cluster
from benchmarks.routing.report import Times
from benchmarks.routing.works import WORKS

if TYPE_CHECKING:
    from benchmarks.routing.report import Report, Served
    from benchmarks.routing.works import Work

_SECONDS = 120.0
_LEAST_REQUESTS, _MOST_REQUESTS = 600, 5000
_MOST_TTFT_SECONDS = 1.5
_SEED = 7
_KEEPER = "prefix-cache-and-load"


def capacity(work: Work) -> float:
    """Requests a second, or sessions."""
    return _sessions(work) if work.is_closed else _kept_rate(work)


def _kept_rate(work: Work) -> float:
    kept, lost = 0.0, 0.8 * len(work.fleet)
    while _keeps(work, lost):
        kept, lost = lost, 1.6 * lost
    for _ in range(3):
        middle = (kept + lost) / 2
        kept, lost = (middle, lost) if _keeps(work, middle) else (kept, middle)
    return kept


def _keeps(work: Work, per_second: float) -> bool:
    requests = int(min(max(_SECONDS * per_second, _LEAST_REQUESTS), _MOST_REQUESTS))
    served = sorted(_report(work, requests, per_second, _KEEPER).served, key=lambda each: each.arrival.at_seconds)
    quarter = len(served) // 4
    (early, early_whole), (late, late_whole) = map(_means, (served[quarter : 2 * quarter], served[-quarter:]))
    is_short = late <= min(1.5 * early + 0.3, _MOST_TTFT_SECONDS)
    return is_short and late_whole <= 1.5 * early_whole + 1.0


def _means(part: list[Served]) -> tuple[float, float]:
    first = Times.of(each.ttft_seconds for each in part).mean
    return first, Times.of(each.duration_seconds for each in part).mean


def _sessions(work: Work) -> float:
    sessions = float(2 * len(work.fleet))
    rate = _closed_rate(work, sessions)
    while True:
        more = _closed_rate(work, 1.25 * sessions)
        if more < rate * 1.125:
            return sessions
        sessions, rate = 1.25 * sessions, more


def _closed_rate(work: Work, sessions: float) -> float:
    report = _report(work, int(24 * sessions), sessions, "dynamo: kv")
    ends = sorted(each.arrival.at_seconds + each.duration_seconds for each in report.served)
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first])


def _report(work: Work, requests: int, per_second: float, strategy: str) -> Report:
    cluster = Cluster(strategy, work.fleet, _SEED, adapters=work.adapters)
    return cluster.run(work.generate(requests, per_second, _SEED))


def main() -> None:
    """Prints the table's lines."""
    for name in sys.argv[1:] or [work.name for work in WORKS.values() if not work.as_full_as]:
        print(f'    "{name}": {capacity(WORKS[name]):.3g},', flush=True)


if __name__ == "__main__":
    main()
