"""Booking and settling: what is learned from how a request ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.candidates import Candidates
from routing.pods.books import RowWindow
from routing.pods.pod_table import PodTable
from routing.prefix.prefix_blocks import PrefixKeys
from routing.prefix.rendezvous import draws
from routing.router import Booking, NoReadyPodError, Router
from routing.selector import parse_selector
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import Policy, RoutingRequest
from routing.strategies.token_counters import TokenCounters
from routing.unsettled import OutputEstimates

PROMPT: dict[str, Any] = {
    "prompt_tokens": 256.0,
    "output_tokens": 10.0,
    "prefix": (11, 22, 33, 44),
    "prefix_tokens": (64.0, 128.0, 192.0, 256.0),
}
PODS = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",), labels={"n": str(i)}) for i in range(4))


class Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.pods = PodTable(lambda: self.now)
        self.pods.apply(ClusterState(PODS, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(3), candidates=2)

    def policy(self, name: str) -> Policy:
        policy = self.router.policy(name)
        assert policy is not None
        return policy

    def book(self, strategy: str, charge: str = "c", **request: Any) -> Booking:
        return self.router.book(self.policy(strategy), RoutingRequest("m", **request), charge)

    def settle(self, charge: str, pod: PodSpec, succeeded: bool = True) -> bool:
        return self.router.settle(charge, pod.address, succeeded=succeeded, prompt=200, cached=0, output=20, model="m")

    def matched(self) -> dict[str, float]:
        explained = self.router.explain(self.policy("prefix-cache"), RoutingRequest("m", **PROMPT))
        return {candidate.pod.name: candidate.matched_tokens for candidate in explained if candidate.matched_tokens}


def test_a_mistake_of_who_learns_of_a_booking_leaves_no_lease():
    site = Site()

    def fails(pod: PodSpec, keys: PrefixKeys) -> None:
        raise RuntimeError("a bug")

    site.router.on_prefix = fails
    with pytest.raises(RuntimeError, match="a bug"):
        site.book("prefix-cache", **PROMPT)
    assert site.pods.view("m").inflight_requests.sum() == 0


def test_a_booking_tells_what_was_weighed_at_most_so_often():
    site = Site()
    site.router = Router(site.pods, np.random.default_rng(3), candidates=1, explain_every_seconds=1.0)
    told = []
    for now in (0.0, 0.5, 0.9, 1.0, 1.5):
        site.now = now
        booking = site.book("prefix-cache-and-load", str(now), **PROMPT)
        assert len(booking.pods) == 1
        told.append(len(booking.weighed))
        if booking.weighed:
            first, second = booking.weighed
            assert first.pod == booking.pods[0]
            assert first.cost <= second.cost
            assert first.cost == pytest.approx(sum(first.terms))
            assert len(first.names) == len(first.terms)
    assert told == [2, 0, 0, 2, 0]
    assert Site().book("random").weighed == ()


def test_a_burst_of_one_prompt_finds_itself_at_once():
    site = Site()
    first = site.book("prefix-cache", "a", **PROMPT)
    assert first.matched_tokens == 0
    second = site.book("prefix-cache", "b", **PROMPT)
    assert (second.pods[0], second.branch, second.matched_tokens) == (first.pods[0], "prefix_match", 256)


def test_first_tokens_teach_how_fast_the_booked_pod_is():
    site, prompt = Site(), {"prompt_tokens": 8000.0, "output_tokens": 10.0}
    known = {"succeeded": True, "prompt": 8000, "cached": 0, "output": 10, "model": "m"}
    by_row = site.pods.columns.prefill_tokens_per_second
    for charge in map(str, range(60)):
        booking = site.book("least-request", charge, **prompt)
        site.now += 10.0
        booking.lease.release()
        site.router.settle(charge, booking.pods[0].address, ttft_seconds=4.0, **known)  # type: ignore[arg-type]
    taught = by_row[site.pods.view("m").rows].tolist()
    assert taught == pytest.approx([2000.0] * 4, rel=0.1)
    booking = site.book("least-request", "last", **prompt)
    elsewhere = next(pod for pod in PODS if pod != booking.pods[0])
    site.router.settle("last", elsewhere.address, ttft_seconds=0.001, **known)  # type: ignore[arg-type]
    assert by_row[site.pods.view("m").rows].tolist() == taught, "another pod's first token says nothing of this one"


def test_a_cached_prompt_books_no_prefill():
    site = Site()
    first = site.book("prefix-cache-and-load", "a", **PROMPT)
    first.lease.release()
    site.settle("a", first.pods[0])
    site.now += 5
    second = site.book("prefix-cache-and-load", "b", **PROMPT)
    assert second.pods[0] == first.pods[0]
    row = site.pods.row_of(second.pods[0].address)
    assert site.pods.columns.prefill_backlog_tokens[row] == 0
    assert site.pods.columns.inflight_prompt_tokens[row] == 256


def test_what_failed_is_forgotten_and_what_another_pod_served_moves():
    site = Site()
    booking = site.book("prefix-cache", "a", **PROMPT)
    assert site.matched() == {booking.pods[0].name: 256}
    site.settle("a", booking.pods[0], succeeded=False)
    assert site.matched() == {}

    booking = site.book("prefix-cache", "b", **PROMPT)
    site.settle("b", booking.pods[1])
    assert site.matched() == {booking.pods[1].name: 256}, "Envoy's retry went to the second candidate"


def test_an_unconfirmed_prompt_goes_by_itself_unless_nobody_will_ever_tell():
    site = Site()
    site.book("prefix-cache", "a", **PROMPT)
    site.now += 601
    assert site.matched() == {}
    booking = site.book("prefix-cache", "b", **PROMPT)
    site.router.assume_success("b")
    site.now += 601
    assert site.matched() == {booking.pods[0].name: 256}


def test_a_restarted_pod_starts_empty():
    site = Site()
    booking = site.book("prefix-cache", "a", **PROMPT)
    site.settle("a", booking.pods[0])
    site.pods.apply(ClusterState(tuple(PodSpec(p.name, p.address, p.models, uid="new") for p in PODS), frozenset()))
    assert site.matched() == {}


def test_settling_is_once_and_for_known_charges():
    site = Site()
    booking = site.book("throughput", "a", prompt_tokens=100.0, output_tokens=50.0)
    booking.lease.release()
    assert site.settle("a", booking.pods[0])
    assert not site.settle("a", booking.pods[0])
    assert not site.settle("other", booking.pods[0])
    costs = site.policy("throughput").costs(Candidates.of(site.pods.view("m")), RoutingRequest("m"))
    assert sorted(costs) == [0, 0, 0, 200 + 2 * 20]


def test_a_filter_leaves_only_what_matches():
    site = Site()
    policy = site.policy("random")
    for _ in range(20):
        booking = site.router.book(policy, RoutingRequest("m"), "", parse_selector("n in (1, 3)"))
        assert {pod.name for pod in booking.pods} == {"pod-1", "pod-3"}
    with pytest.raises(NoReadyPodError):
        site.router.book(policy, RoutingRequest("m"), "", parse_selector("n=9"))


def test_an_explanation_changes_nothing_and_adds_up():
    site = Site()
    site.pods.book(0)
    before = site.pods.columns.inflight_requests.copy()
    candidates = site.router.explain(site.policy("prefix-cache-and-load"), RoutingRequest("m", **PROMPT))
    assert [candidate.place for candidate in candidates] == [1, 2, 3, 4]
    assert [candidate.cost for candidate in candidates] == sorted(candidate.cost for candidate in candidates)
    for candidate in candidates:
        assert candidate.cost == pytest.approx(sum(candidate.terms.values()))
    assert (site.pods.columns.inflight_requests == before).all()
    assert site.router.prefixes.blocks == 0


def test_cold_prompts_go_to_the_same_pod_on_every_replica():
    chosen = [
        [Site().book("prefix-cache", **(PROMPT | {"prefix": (seed, 1, 2, 3)})).pods[0].name for seed in range(40)]
        for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert set(chosen[0]) == {"pod-0", "pod-1", "pod-2", "pod-3"}


def test_kv_capacity_bounds_what_a_pod_is_believed_to_hold():
    site = Site()
    booking = site.book("prefix-cache", "a", **PROMPT)
    site.settle("a", booking.pods[0])
    row = site.pods.row_of(booking.pods[0].address)
    assert row is not None
    site.pods.polled(row, site.pods.incarnation(row), {"kv_capacity_tokens": 128.0})
    assert site.matched() == {booking.pods[0].name: 128}


def test_a_poll_of_a_former_pod_is_not_taken():
    site = Site()
    assert not site.pods.polled(0, site.pods.incarnation(0) + 1, {"kv_usage_ratio": 1.0})
    assert site.pods.polled(0, site.pods.incarnation(0), {"kv_usage_ratio": 0.5})
    assert site.pods.view("m").kv_usage_ratio[0] == 0.5


def test_expected_output_is_learned_per_model():
    outputs = OutputEstimates()
    assert (outputs.expected("m", None), outputs.expected("m", 10)) == (128, 10)
    outputs.observe("m", 100)
    outputs.observe("m", 200)
    assert outputs.expected("m", None) == pytest.approx(105)
    assert outputs.expected("other", None) == 128


def test_windows_forget_bucket_by_bucket():
    window = RowWindow(2)
    rows = np.array([0, 1])
    window.add(0, 5.0, 1.0)
    window.add(0, 7.0, 31.0)
    assert list(window.totals(rows, 59.0)) == [12, 0]
    assert list(window.totals(rows, 61.0)) == [7, 0]
    window.grow(4)
    window.reset(0)
    assert list(window.totals(np.arange(4), 62.0)) == [0, 0, 0, 0]
    window.add_interval(1, 0.0, 70.0)
    assert window.totals(rows, 70.0)[1] == pytest.approx(55, abs=1e-6), "the window's oldest bucket began at 15"
    assert window.totals(rows, 200.0)[1] == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(-1e6, 1e6), st.floats(0.0, 30.0)), max_size=30),
    st.floats(0.0, 200.0, allow_nan=False),
)
def test_windows_sum_what_is_younger_than_their_oldest_bucket(added: list[tuple[int, float, float]], wait: float):
    window, now = RowWindow(3), 0.0
    known: list[tuple[int, float, float]] = []
    for row, value, pause in added:
        now += pause
        window.add(row, value, now)
        known.append((row, value, now))
    now += wait
    oldest = (int(now / 5.0) - 11) * 5.0
    for row in range(3):
        expected = sum(value for at, value, seconds in known if at == row and int(seconds / 5.0) * 5.0 >= oldest)
        assert window.totals(np.array([row]), now)[0] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_counters_decay_and_forget():
    now = [0.0]
    counters = TokenCounters(lambda: now[0], max_users=2)
    counters.add("a", 100)
    now[0] = 60.0
    assert counters.value("a") == pytest.approx(50)
    counters.add("b", 10)
    assert counters.extremes() == pytest.approx((10, 50))
    counters.add("c", 1)
    assert (len(counters), counters.value("a")) == (2, 0), "the least recently active goes first"
    counters.add("c", -5)
    assert counters.value("c") == 0, "a counter is never negative"
    now[0] = 60.0 + 200.0
    assert counters.extremes() == (0, 0), "contention is among those who are here"
    now[0] = 1e6
    counters.add("d", 8)
    assert counters.value("d") == pytest.approx(8)


def test_draws_are_even_where_addresses_differ_by_a_character():
    table = PodTable(lambda: 0.0)
    table.apply(ClusterState(tuple(PodSpec(f"{i}", f"127.0.0.1:800{i}", ("m",)) for i in range(5)), frozenset()))
    hashes = table.view("m").address_hash
    wins = np.bincount([int(np.argmax(draws(hashes, key))) for key in range(20_000)], minlength=5)
    assert wins.min() > 3700
    assert wins.max() < 4300
