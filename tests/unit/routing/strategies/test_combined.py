"""Combinations, with shares worked out by hand: excess / (excess + scale)."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.candidates import Candidates
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec
from routing.strategies.combined import Combined
from routing.strategies.least_request import LeastRequest
from routing.strategies.policy import Chooser, Policy, RequestOutcome, RoutingRequest

REQUEST = RoutingRequest(model="m")
NAN, INF = float("nan"), float("inf")


class Fixed(Policy):
    def __init__(self, *costs: float, name: str = "fixed", scale: float = 1.0, body: bool = False) -> None:
        self.name, self.scale, self.needs_body, self.needs_prefix = name, scale, body, body
        self._costs = costs
        self.heard: list[object] = []

    def terms(self, pods, request):
        del pods, request
        return [(cost,) for cost in self._costs]

    def booked(self, pod, request):
        self.heard.append((pod, request))

    def settled(self, request, outcome):
        self.heard.append((request, outcome))


def view(count: int):
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
    pods.apply(ClusterState(specs, frozenset({"m"})))
    return Candidates.of(pods.view("m"))


def costs(weights: dict[Policy, int], count: int) -> list[float]:
    return [float(cost) for cost in Combined(weights).costs(view(count), REQUEST)]


def test_the_weighted_mean_of_shares():
    requests = Fixed(3.0, 19.0, 3.0, name="requests", scale=16.0)  # shares 0, 16/32, 0
    seconds = Fixed(1.5, 0.5, 3.5, name="seconds", scale=1.0)  # shares 1/2, 0, 3/4
    combined = Combined({requests: 1, seconds: 3})
    assert combined.costs(view(3), REQUEST) == pytest.approx([0.375, 0.125, 0.5625])
    assert combined.term_names == ("requests", "seconds")
    requests_share, seconds_share = zip(*combined.terms(view(3), REQUEST), strict=True)
    assert requests_share == pytest.approx([0.0, 0.125, 0.0])
    assert seconds_share == pytest.approx([0.375, 0.0, 0.5625])


def test_one_request_weighs_far_less_than_a_hundred_and_the_same_under_any_load():
    prompt = Fixed(1.0, 0.0, name="prompt", scale=0.5)
    for base in (0.0, 100.0):
        one = Fixed(base, base + 1.0, name="requests", scale=16.0)
        hundred = Fixed(base, base + 100.0, name="requests", scale=16.0)
        assert costs({one: 1}, 2)[1] == pytest.approx(1 / 17)
        assert costs({hundred: 1}, 2)[1] == pytest.approx(100 / 116)
        # A cached prompt is worth one request more on its pod, but not a hundred.
        assert np.argmin(costs({one: 1, prompt: 1}, 2)) == 1
        assert np.argmin(costs({hundred: 1, prompt: 1}, 2)) == 0


def test_a_pod_unknown_to_one_strategy_gets_the_median_of_its_shares():
    some = Fixed(0.0, NAN, 1.0, 3.0)  # shares 0, ?, 1/2, 3/4
    same = Fixed(5.0, 5.0, 5.0, 5.0, name="same")
    assert costs({some: 1, same: 1}, 4) == pytest.approx([0.0, 0.25, 0.25, 0.375])


def test_a_strategy_that_knows_nothing_gives_its_weight_to_the_others():
    blind, known = Fixed(NAN, NAN, name="blind"), Fixed(0.0, 1.0, name="known")
    combined = Combined({blind: 9, known: 1})
    assert combined.costs(view(2), REQUEST) == pytest.approx([0.0, 0.5])
    assert [blind for blind, _ in combined.terms(view(2), REQUEST)] == [0.0, 0.0]


def test_nothing_known_at_all_is_left_to_the_chooser():
    combined = Combined({Fixed(NAN, NAN): 1, Fixed(NAN, NAN, name="other"): 1})
    assert np.isnan(combined.costs(view(2), REQUEST)).all()
    choice = Chooser(random.Random(0).random, LeastRequest()).choose(combined, view(2), REQUEST, 1)
    assert choice.branch == "fallback_least_request"


def test_forbidden_pods_and_negative_costs():
    assert costs({Fixed(-2.0, INF, -1.0): 1}, 3) == pytest.approx([0.0, 1.0, 0.5])
    assert costs({Fixed(INF, INF): 1}, 2) == [0.0, 0.0]


@pytest.mark.parametrize("body", [True, False])
def test_needs_what_any_part_needs(body):
    combined = Combined({Fixed(0.0): 1, Fixed(0.0, body=body): 1})
    assert (combined.needs_body, combined.needs_prefix) == (body, body)


def test_all_parts_hear_of_bookings_and_outcomes():
    parts = [Fixed(0.0), Fixed(0.0)]
    combined = Combined(dict.fromkeys(parts, 1))
    pod = PodSpec("pod", "10.0.0.1:8000", ("m",))
    outcome = RequestOutcome(pod=pod, succeeded=True, prompt_tokens=1, cached_tokens=0, output_tokens=1)
    combined.booked(pod, REQUEST)
    combined.settled(REQUEST, outcome)
    assert [part.heard for part in parts] == [[(pod, REQUEST), (REQUEST, outcome)]] * 2


def test_reads_like_its_text_while_its_name_is_one_metric_label():
    combined = Combined({Fixed(0.0, name="a"): 2, Fixed(0.0, name="b"): 1})
    assert (repr(combined), combined.name) == ("<Combined a:2,b:1>", "combined")


COST = st.one_of(st.just(NAN), st.just(INF), st.floats(-1e6, 1e6))


@st.composite
def tables(draw):
    """Costs by part and pod, weights and scales by part, and another order of the pods."""
    pods, parts = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(COST, min_size=pods, max_size=pods), min_size=parts, max_size=parts))
    weights = draw(st.lists(st.integers(1, 1_000_000), min_size=parts, max_size=parts))
    scales = draw(st.lists(st.floats(0.01, 1e5), min_size=parts, max_size=parts))
    return np.array(rows), weights, scales, draw(st.permutations(range(pods)))


@given(tables())
def test_relabelling_pods_changes_nothing_and_nan_means_that_nobody_knows(table):
    rows, weights, scales, order = table

    def combined(columns: np.ndarray) -> np.ndarray:
        parts = [Fixed(*row, name=str(i), scale=scales[i]) for i, row in enumerate(columns)]
        return np.array(Combined(dict(zip(parts, weights, strict=True))).costs(view(len(order)), REQUEST))

    result = combined(rows)
    np.testing.assert_array_equal(combined(rows[:, order]), result[list(order)])
    if np.isnan(rows).all():
        assert np.isnan(result).all()
    else:
        assert (result >= 0.0).all()
        assert (result <= 1.0 + 1e-9).all()


@given(st.lists(st.floats(0.0, 1e3), min_size=2, max_size=8), st.floats(0.1, 1e3))
def test_a_part_alone_keeps_its_order(column, scale):
    result = costs({Fixed(*column, scale=scale): 1}, len(column))
    ranked = sorted(range(len(column)), key=column.__getitem__)
    assert all(result[low] <= result[high] for low, high in pairwise(ranked))
