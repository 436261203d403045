"""`least-request`: the gateway's own count of open requests."""

from __future__ import annotations

import pytest

from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_the_cost_is_what_is_open():
    assert Cluster(2, inflight_requests=[3, 1]).terms("least-request") == [(3.0,), (1.0,)]


def test_other_replicas_requests_count_too():
    cluster = Cluster(2, inflight_requests=[3, 1])
    cluster.pods.books.has_elsewhere = True
    rows = cluster.view.rows.tolist()
    cluster.pods.books.set_elsewhere([rows[1]], [(5.0, 0.0, 0.0)])
    assert cluster.costs("least-request") == [3.0, 6.0]
    assert cluster.scan("least-request") == [3.0, 6.0]


@pytest.mark.parametrize("prompt_tokens", [0, 100_000])
def test_it_is_blind_to_the_prompt(prompt_tokens: int):
    cluster = Cluster(2, inflight_requests=[1, 1])
    assert cluster.costs("least-request", [50_000, 0], prompt_tokens=prompt_tokens) == [1.0, 1.0]


def test_it_never_degrades():
    cluster = Cluster(2, inflight_requests=[2, 0])
    cluster.now += 3600
    assert cluster.costs("least-request") == [2.0, 0.0]
    assert cluster.branch("least-request", 1) == "least-request"
