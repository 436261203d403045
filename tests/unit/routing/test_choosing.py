"""Strategies and chooser, with numbers worked out by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from routing.candidates import Candidates
from routing.pods.pod_table import PodTable
from routing.router import NoReadyPodError, Router, UnknownModelError
from routing.spec import ClusterState, PodSpec
from routing.strategies.least_request import LeastRequest
from routing.strategies.policy import Chooser, Policy, RoutingRequest

REQUEST = RoutingRequest(model="m")


class Fixed(Policy):
    name = "fixed"

    def __init__(self, *costs: float) -> None:
        self._costs = costs

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        del pods, request
        return [(cost,) for cost in self._costs]


def make(count: int, seed: int = 0, candidates: int = 2) -> tuple[PodTable, Router, Chooser]:
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
    pods.apply(ClusterState(specs, frozenset({"m", "empty"})))
    rng = np.random.default_rng(seed)
    return pods, Router(pods, rng, candidates), Chooser(random.Random(seed).random, LeastRequest())


def named(pods: PodTable, positions: Sequence[int]) -> list[str]:
    """Pods of "m" by their positions in its view."""
    return [pods.spec(int(pods.view("m").rows[position])).name for position in positions]


def test_candidates_come_in_order_of_cost():
    pods, _, chooser = make(4)
    choice = chooser.choose(Fixed(3.0, 1.0, 2.0, 9.0), Candidates.of(pods.view("m")), REQUEST, 3)
    assert named(pods, choice.positions) == ["pod-1", "pod-2", "pod-0"]
    assert choice.branch == "fixed"


def test_unknown_costs_count_as_the_median_of_the_known():
    pods, _, chooser = make(4)
    # Known: 1, 5, 9; the unknown pod counts as 5 and so stands before the 9 and behind the 1.
    costs = Fixed(9.0, float("nan"), 1.0, 5.0)
    orders = [chooser.choose(costs, Candidates.of(pods.view("m")), REQUEST, 4).positions for _ in range(50)]
    order = {tuple(named(pods, positions)) for positions in orders}
    assert order == {("pod-2", "pod-1", "pod-3", "pod-0"), ("pod-2", "pod-3", "pod-1", "pod-0")}


def test_knowing_nothing_falls_back_to_least_request_and_says_so():
    pods, _, chooser = make(2)
    pods.book(0)
    choice = chooser.choose(Fixed(float("nan"), float("nan")), Candidates.of(pods.view("m")), REQUEST, 1)
    assert (named(pods, choice.positions), choice.branch) == (["pod-1"], "fallback_least_request")


def test_ties_are_broken_at_random():
    _, router, _ = make(4)
    policy = router.policy("random")
    assert policy is not None
    first = Counter(router.book(policy, REQUEST).pods[0].name for _ in range(2000))
    assert all(400 < count < 600 for count in first.values()), first
    assert len(first) == 4


def test_least_request_spreads_a_burst_evenly():
    pods, router, _ = make(8)
    policy = router.policy("least-request")
    assert policy is not None
    for _ in range(64):
        router.book(policy, REQUEST)
    assert list(pods.view("m").inflight_requests) == [8.0] * 8


def test_candidates_are_distinct_and_the_first_is_booked():
    pods, router, _ = make(3, candidates=2)
    policy = router.policy("least-request")
    assert policy is not None
    booking = router.book(policy, REQUEST)
    assert len({pod.name for pod in booking.pods}) == 2
    row = pods.row_of(booking.pods[0].address)
    assert row is not None
    assert pods.columns.inflight_requests[row] == 1
    assert pods.view("m").inflight_requests.sum() == 1
    booking.lease.release()
    assert pods.view("m").inflight_requests.sum() == 0


def test_unknown_model_and_no_ready_pod_differ():
    _, router, _ = make(1)
    with pytest.raises(UnknownModelError):
        router.check("other")
    with pytest.raises(NoReadyPodError):
        router.check("empty")
    assert router.policy("nothing") is None
    assert {"least-request", "random", "prefix-cache-preble"} <= set(router.strategies())
