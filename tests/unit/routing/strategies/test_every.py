"""What all strategies promise, whatever their formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.every import all_policies
from routing.strategies.policy import Policy, RoutingRequest
from tests.unit.routing.strategies.strategy_cluster import NOW, Cluster

LOADS = st.lists(st.integers(0, 60), min_size=2, max_size=6)
STRATEGIES = sorted(all_policies(lambda: 0.0, np.random.default_rng(0)))
LOAD_AWARE = [name for name in STRATEGIES if name not in ("random", "session-affinity", "power-of-two")]


def loaded(loads: list[int], order: list[int] | None = None) -> Cluster:
    cluster = Cluster(len(loads), running_requests=[0.0] * len(loads), kv_usage_ratio=[0.0] * len(loads))
    cluster.pods.columns.prefill_tokens_per_second[: len(loads)] = 8000.0
    rows = cluster.view.rows
    for position in order or range(len(loads)):
        for _ in range(loads[position]):
            cluster.pods.book(int(rows[position]), Work(100, 100, 20))
    return cluster


@given(LOADS, st.sampled_from(LOAD_AWARE))
def test_more_load_never_attracts(loads: list[int], strategy: str):
    costs = loaded(loads).costs(strategy, user="u", prompt_tokens=100, output_tokens=20)
    for lighter, heavier in [(i, j) for i in range(len(loads)) for j in range(len(loads)) if loads[i] < loads[j]]:
        # Equal but for load; prefix strategies may prefer by a hair among pods of nearly equal load.
        assert costs[lighter] <= costs[heavier] + 0.0011, (strategy, loads, costs)


@given(LOADS, st.sampled_from([name for name in LOAD_AWARE if not name.startswith(("prefix", "vtc"))]), st.randoms())
def test_relabelling_pods_permutes_the_costs(loads: list[int], strategy: str, random: Any):
    order = list(range(len(loads)))
    random.shuffle(order)
    costs = loaded(loads).costs(strategy, prompt_tokens=100, output_tokens=20)
    relabelled = loaded([loads[i] for i in order]).costs(strategy, prompt_tokens=100, output_tokens=20)
    assert relabelled == pytest.approx([costs[i] for i in order], nan_ok=True)


@pytest.mark.parametrize("strategy", ["least-kv-cache", "least-utilization", "least-latency"])
def test_a_strategy_that_knows_nothing_falls_back_and_says_so(strategy: str):
    cluster = Cluster(3, inflight_requests=[2, 0, 1])
    cluster.pods.columns.polled_at_seconds[:] = NOW - 60
    router = Router(cluster.pods, np.random.default_rng(0), candidates=3)
    policy = router.policy(strategy)
    assert isinstance(policy, Policy)
    booking = router.book(policy, RoutingRequest("m"))
    assert booking.branch == "fallback_least_request"
    assert [pod.name for pod in booking.pods] == ["pod-1", "pod-2", "pod-0"]


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.sampled_from(STRATEGIES), st.integers(0, 2**32 - 1))
def test_only_ready_pods_are_chosen(ready: list[bool], strategy: str, seed: int):
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"{i}", f"10.0.0.{i}:1", ("m",), ready=up) for i, up in enumerate(ready))
    pods.apply(ClusterState(specs, frozenset()))
    router = Router(pods, np.random.default_rng(seed), candidates=3)
    policy = router.policy(strategy)
    assert policy is not None
    if any(ready):
        chosen = router.book(
            policy, RoutingRequest("m", user="u", session="s", prefix=(1,), prefix_tokens=(64.0,))
        ).pods
        assert all(ready[int(pod.name)] for pod in chosen)
        assert len({pod.name for pod in chosen}) == len(chosen) == min(3, sum(ready))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_term_has_a_name(strategy: str):
    cluster = loaded([2, 0, 1])
    names = cluster.policy(strategy).term_names
    assert len(set(names)) == len(names)
    assert {len(terms) for terms in cluster.terms(strategy, user="u", prompt_tokens=100)} == {len(names)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_there_is_a_test_file_of_every_strategy(strategy: str):
    assert Path(__file__).with_name(f"test_{strategy.replace('-', '_')}.py").is_file()
