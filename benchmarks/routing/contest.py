"""One run of the ring: a workload, a load, replicas, a strategy and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from benchmarks.routing.cluster import Cluster
from benchmarks.routing.works import WORKS

if TYPE_CHECKING:
    from benchmarks.routing.report import Report
    from benchmarks.routing.workloads import Arrival

SETTINGS: dict[str, tuple[int, bool]] = {"1": (1, False), "4 sharing": (4, True), "4 not": (4, False)}
"""Replicas, and whether they share, by name."""
LOADS = (0.7, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Contest:
    """What is run."""

    work: str
    load: float
    setting: str
    strategy: str
    seed: int
    requests: int
    told_live: float = 0.0


def cluster(contest: Contest) -> Cluster:
    """With its weather ahead, before the first request."""
    work = WORKS[contest.work]
    replicas, sharing = SETTINGS[contest.setting]
    made = Cluster(
        contest.strategy,
        work.fleet,
        contest.seed,
        replicas=replicas,
        sharing=sharing,
        adapters=work.adapters,
        told_live=contest.told_live,
    )
    for weather in work.weather(work.seconds(contest.load, contest.requests)):
        made.agenda.at(weather.at_seconds, partial(weather.befall, made))
    return made


def hold(contest: Contest) -> Report:
    """Runs it."""
    return cluster(contest).run(_arrivals(contest.work, contest.load, contest.requests, contest.seed))


@lru_cache(maxsize=4)
def _arrivals(work: str, load: float, requests: int, seed: int) -> list[Arrival]:
    return WORKS[work].arrivals(load, requests, seed)
