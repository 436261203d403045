"""`random`: nothing counts, whatever is known."""

from __future__ import annotations

from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_every_pod_costs_nothing():
    cluster = Cluster(3, inflight_requests=[9, 0, 4], kv_usage_ratio=[1.0, 0.0, 0.5])
    assert cluster.terms("random", user="kim", prompt_tokens=1000) == [(0.0,)] * 3
    assert cluster.scan("random") == [0.0] * 3, "of hundreds, any are as good"


def test_it_needs_no_body():
    policy = Cluster(1).policy("random")
    assert not policy.needs_body
    assert not policy.needs_prefix
