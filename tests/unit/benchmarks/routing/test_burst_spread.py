"""64 different prompts in one instant, on 8 idle and equal pods: nobody may be sent more than its share and a half."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.routing.cluster import Cluster, equal_pods, run
from benchmarks.routing.workloads import burst, unshared

SEEDS = range(4)
EXACT = ["least-request", "prefix-cache-and-load"]
LOAD_AWARE = [
    *EXACT,
    "throughput",
    "least-busy-time",
    "least-kv-cache",
    "least-latency",
    "least-utilization",
    "prefix-cache",
    "vtc-basic",
    "power-of-two",
]


def polled_cluster(strategy: str, seed: int, age_seconds: float) -> Cluster:
    """Pods that were polled and measured a while ago, each a little different from the others."""
    cluster = Cluster(strategy, equal_pods(8), seed)
    cluster.agenda.now_seconds = 100.0
    for number, (row, pod) in enumerate(cluster.table.items()):
        share = (number * 5 + seed) % 8 / 8
        values = {"running_requests": 0.0, "waiting_requests": 0.0, "kv_usage_ratio": 0.02 * share}
        cluster.table.polled(row, cluster.table.incarnation(row), values)
        cluster.table.observe(pod.address, ttft_seconds=0.1 + 0.02 * share, tpot_seconds=0.007 + 0.001 * share)
    cluster.agenda.now_seconds += age_seconds
    return cluster


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", EXACT)
def test_equal_shares_exactly(strategy: str, seed: int):
    shares = run(burst(64), strategy, equal_pods(8), seed).requests_by_pod
    assert list(shares.values()) == [8] * 8


@pytest.mark.parametrize("users", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("strategy", LOAD_AWARE)
def test_no_pod_is_swamped_before_anything_is_known(strategy: str, users: int):
    for seed in SEEDS:
        shares = run(burst(64, users=users), strategy, equal_pods(8), seed).requests_by_pod
        assert max(shares.values()) <= 12, f"seed {seed}: {shares}"


@pytest.mark.parametrize("age_seconds", [0.5, 5.0, 30.0])
@pytest.mark.parametrize("strategy", LOAD_AWARE)
def test_no_pod_is_swamped_on_old_metrics(strategy: str, age_seconds: float):
    for seed in SEEDS:
        cluster = polled_cluster(strategy, seed, age_seconds)
        shares = cluster.run(burst(64, at_seconds=100.0 + age_seconds, users=3)).requests_by_pod
        assert max(shares.values()) <= 12, f"seed {seed}: {shares}"


@pytest.mark.parametrize("seed", SEEDS)
def test_users_with_an_equal_past_are_spread_too(seed: int):
    past = [replace(each, user=f"user-{i % 5}") for i, each in enumerate(unshared(200, per_second=4.0, seed=seed))]
    at_seconds = past[-1].at_seconds + 10.0
    report = run([*past, *burst(64, at_seconds, users=5)], "vtc-basic", equal_pods(8), seed)
    shares = Counter(served.address for served in report.served if served.arrival.at_seconds == at_seconds)
    assert max(shares.values()) <= 12
