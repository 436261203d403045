"""`least-kv-cache`: what was polled, and what was booked since."""

from __future__ import annotations

import pytest

from routing.pods.books import Work
from routing.pods.pod_view import DEFAULT_KV_CAPACITY_TOKENS
from tests.unit.routing.strategies.strategy_cluster import NAN, Cluster


def test_polled_usage_and_what_was_booked_since_over_the_capacity():
    cluster = Cluster(
        2,
        kv_usage_ratio=[0.5, 0.25],
        booked_tokens_since_poll=[0, 1000],
        kv_capacity_tokens=[10_000, 10_000],
    )
    assert cluster.costs("least-kv-cache") == pytest.approx([0.5, 0.35])
    assert cluster.scan("least-kv-cache") == pytest.approx([0.5, 0.35])


def test_a_capacity_that_is_not_told_is_assumed():
    cluster = Cluster(1, kv_usage_ratio=[0.5])
    cluster.pods.book(0, Work(4000, uncached_tokens=3000))
    assert cluster.costs("least-kv-cache") == pytest.approx([0.5 + 3000 / DEFAULT_KV_CAPACITY_TOKENS])


def test_a_poll_takes_the_place_of_what_was_booked():
    cluster = Cluster(1, kv_usage_ratio=[0.5], kv_capacity_tokens=[10_000])
    cluster.pods.book(0, Work(4000, uncached_tokens=4000))
    assert cluster.costs("least-kv-cache") == pytest.approx([0.9])
    assert cluster.pods.polled(0, cluster.pods.incarnation(0), {"kv_usage_ratio": 0.75})
    assert cluster.costs("least-kv-cache") == pytest.approx([0.75])


def test_what_is_missing_or_stale_is_unknown():
    cluster = Cluster(2, kv_usage_ratio=[0.5, NAN])
    assert cluster.costs("least-kv-cache") == pytest.approx([0.5, NAN], nan_ok=True)
    cluster.now += 10.0
    assert cluster.costs("least-kv-cache") == pytest.approx([0.5, NAN], nan_ok=True), "ten seconds are not too long"
    cluster.now += 0.1
    assert cluster.costs("least-kv-cache") == pytest.approx([NAN, NAN], nan_ok=True)
