"""`least-utilization`: the largest of three shares."""

from __future__ import annotations

import pytest

from tests.unit.routing.strategies.strategy_cluster import NAN, Cluster

IDLE = {"running_requests": [0.0], "waiting_requests": [0.0], "kv_usage_ratio": [0.0]}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({"running_requests": [64.0]}, 64 / 256, id="requests in the engine of 256"),
        pytest.param({"running_requests": [64.0], "waiting_requests": [3.0]}, 67 / 256, id="with those that wait"),
        pytest.param({"running_requests": [64.0], "booked_requests_since_poll": [64]}, 0.5, id="and what was booked"),
        pytest.param({"running_requests": [64.0], "kv_usage_ratio": [0.3]}, 0.3, id="KV usage"),
        pytest.param({"kv_usage_ratio": [0.2], "waiting_requests": [8.0]}, 0.5, id="waiting of 16"),
        pytest.param({"waiting_requests": [32.0]}, 2.0, id="more than saturated"),
    ],
)
def test_the_scarcest_resource_counts(columns: dict[str, list[float]], expected: float):
    cluster = Cluster(1, **{**IDLE, **columns})
    assert cluster.costs("least-utilization") == pytest.approx([expected])


def test_what_is_not_reported_is_left_out():
    cluster = Cluster(3, kv_usage_ratio=[0.3, NAN, NAN], running_requests=[NAN, 128.0, NAN])
    assert cluster.costs("least-utilization") == pytest.approx([0.3, 0.5, NAN], nan_ok=True)


def test_of_many_kv_usage_decides_who_is_looked_at():
    cluster = Cluster(2, kv_usage_ratio=[0.3, 0.1], running_requests=[0.0, 256.0])
    assert cluster.scan("least-utilization") == [0.3, 0.1]
