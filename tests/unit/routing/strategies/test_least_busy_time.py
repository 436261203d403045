"""`least-busy-time`: a share of the last minute, and a hair for what is open."""

from __future__ import annotations

import pytest

from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_the_busy_share_grows_while_something_is_open_and_falls_out_after_a_minute():
    cluster = Cluster(2)
    first, second = cluster.pods.book(0), cluster.pods.book(0)
    cluster.now += 10
    first.release()
    cluster.now += 5
    assert cluster.terms("least-busy-time")[0] == pytest.approx((15 / 60, 0.01))
    second.release()
    cluster.now += 15
    assert cluster.costs("least-busy-time") == pytest.approx([15 / 60, 0])
    cluster.now += 46
    assert cluster.costs("least-busy-time")[0] < 15 / 60


def test_two_requests_at_once_make_nobody_busier_than_one():
    cluster = Cluster(2)
    leases = [cluster.pods.book(row) for row in (0, 0, 1)]
    cluster.now += 6
    for lease in leases:
        lease.release()
    assert cluster.costs("least-busy-time") == pytest.approx([0.1, 0.1])


def test_simultaneous_requests_see_each_other():
    cluster = Cluster(2, inflight_requests=[3, 0])
    assert [terms[1] for terms in cluster.terms("least-busy-time")] == pytest.approx([0.03, 0.0])


def test_of_many_the_share_decides_who_is_looked_at():
    cluster = Cluster(2)
    cluster.pods.book(0)
    cluster.now += 30
    assert cluster.scan("least-busy-time") == pytest.approx([0.5, 0.0])
