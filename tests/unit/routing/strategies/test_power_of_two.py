"""`power-of-two`: two are drawn, the others are forbidden."""

from __future__ import annotations

from collections import Counter
from math import inf

from tests.unit.routing.strategies.strategy_cluster import Cluster

LOADS = [5.0, 1.0, 4.0, 2.0, 3.0]


def test_two_are_drawn_and_cost_what_is_open_there():
    cluster = Cluster(5, inflight_requests=LOADS)
    for _ in range(20):
        costs = cluster.costs("power-of-two")
        drawn = [position for position, cost in enumerate(costs) if cost < inf]
        assert len(drawn) == 2
        assert [costs[position] for position in drawn] == [LOADS[position] for position in drawn]


def test_every_pod_is_drawn_as_often():
    cluster, drawn = Cluster(5), Counter[int]()
    for _ in range(2000):
        drawn.update(position for position, cost in enumerate(cluster.costs("power-of-two")) if cost < inf)
    assert all(abs(drawn[position] - 800) < 120 for position in range(5)), drawn


def test_of_one_or_two_pods_all_are_drawn():
    assert Cluster(1, inflight_requests=[7]).costs("power-of-two") == [7.0]
    assert Cluster(2, inflight_requests=[7, 2]).costs("power-of-two") == [7.0, 2.0]
    assert Cluster(3).scan("power-of-two") == [0.0] * 3
