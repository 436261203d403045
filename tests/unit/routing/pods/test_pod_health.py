"""Which pods are offered: sickness, sleep, the bound on both, and pods that come and go under their circuits."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from routing.pods.books import Lease
from routing.pods.circuit import Circuit, CircuitState, Failure
from routing.pods.pod_health import PodHealth
from routing.pods.pod_table import PodTable
from routing.router import Booking, Router
from routing.selector import parse_selector
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest


class Site:
    def __init__(self, count: int, share: float = 0.5) -> None:
        self.now = 100.0
        self.health = PodHealth(lambda: self.now, random.Random(3), share)
        self.pods = PodTable(lambda: self.now, health=self.health)
        self.router = Router(self.pods, np.random.default_rng(0), candidates=3)
        self.serve(*range(count))
        self.charges = 0

    def serve(self, *numbers: int, uid: str = "") -> None:
        pods = tuple(
            PodSpec(f"pod-{n}", f"10.0.0.{n}:8000", ("m",), uid=uid, labels={"half": "ab"[n % 2]}) for n in numbers
        )
        self.pods.apply(ClusterState(pods, frozenset({"m"})))

    def row(self, number: int) -> int:
        row = self.pods.row_of(f"10.0.0.{number}:8000")
        assert row is not None
        return row

    def break_pods(self, *numbers: int) -> None:
        for number in numbers:
            self.health.failed(self.row(number), Failure.UNAVAILABLE)

    def half_open(self, *numbers: int) -> None:
        self.now += 60
        for _, circuit in self.health.due():
            if circuit in [self.health.circuit(self.row(number)) for number in numbers]:
                circuit.checked(passed=True)

    def sleep(self, *numbers: int) -> None:
        for number in numbers:
            self.polled(number, asleep=True)

    def polled(self, number: int, *, asleep: bool) -> None:
        self.pods.polled(self.row(number), self.pods.incarnation(self.row(number)), {}, asleep=asleep)

    def book(self, selector: str = "") -> tuple[str, Booking]:
        policy = self.router.policy("least-request")
        assert policy is not None
        self.charges += 1
        charge = f"c{self.charges}"
        parsed = parse_selector(selector) if selector else None
        return charge, self.router.book(policy, RoutingRequest("m"), charge, parsed)

    def offered(self) -> set[str]:
        rows = self.health.offer(self.pods.view("m").rows).rows
        return {self.pods.spec(int(row)).name for row in rows}


def test_healthy_pods_cost_nothing():
    site = Site(4)
    rows = site.pods.view("m").rows
    assert site.health.offer(rows).rows is rows


def test_a_sick_pod_is_neither_chosen_nor_a_candidate():
    site = Site(4)
    site.break_pods(1)
    for _ in range(20):
        _, booking = site.book()
        assert "pod-1" not in {pod.name for pod in booking.pods}
        assert len(booking.pods) == 3


@pytest.mark.parametrize(
    ("count", "share", "sick", "offered"),
    [
        (4, 0.5, 1, 3),
        (4, 0.5, 2, 2),
        (4, 0.5, 4, 2),
        (3, 0.5, 3, 2),
        (2, 0.5, 2, 1),
        (1, 0.5, 1, 1),
        (10, 0.29, 10, 8),
        (100, 0.29, 100, 71),
        (4, 0.0, 4, 4),
        (4, 1.0, 4, 1),
    ],
)
def test_at_most_a_share_is_ejected_and_never_all(count: int, share: float, sick: int, offered: int):
    site = Site(count, share)
    site.break_pods(*range(sick))
    assert len(site.offered()) == offered


def test_the_least_bad_stay_in():
    site = Site(4)
    site.break_pods(0, 1, 2, 3)
    worse = [site.health.circuit(site.row(number)) for number in (0, 2)]
    site.now += 60
    for circuit in worse:
        assert circuit is not None
        circuit.checked(passed=False)
    assert site.offered() == {"pod-1", "pod-3"}


def test_the_share_is_one_of_those_that_may_take_the_request():
    site = Site(4)
    site.break_pods(1, 3)
    _, booking = site.book("half=b")
    assert {pod.name for pod in booking.pods} in ({"pod-1"}, {"pod-3"}), "half of two pods stays in"


def test_retries_stay_within_the_clients_filter():
    site = Site(6)
    names = [pod.name for pod in site.book("half=b")[1].pods]
    assert sorted(names) == ["pod-1", "pod-3", "pod-5"]
    site.serve(0, 1, 2, 3)
    first, second, third = (pod.name for pod in site.book("half=b")[1].pods)
    assert first == third != second, "Envoy would take any pod after the last candidate"


def test_sleepers_are_left_out_however_many_they_are():
    site = Site(4)
    site.sleep(0, 1, 2)
    assert site.offered() == {"pod-3"}
    site.break_pods(3)
    assert site.offered() == {"pod-3"}, "the share counts those that are awake"
    site.sleep(3)
    assert site.offered() == {"pod-0", "pod-1", "pod-2"}, "all sleep: whoever is well may be woken"
    site.polled(0, asleep=False)
    assert site.offered() == {"pod-0"}


def test_exactly_one_request_is_the_probe_and_others_are_behind_it():
    site = Site(4)
    site.break_pods(1)
    site.half_open(1)
    charge, booking = site.book()
    assert (booking.branch, booking.pods[0].name, len(booking.pods)) == ("probe", "pod-1", 3)
    for _ in range(10):
        _, other = site.book()
        assert "pod-1" not in {pod.name for pod in other.pods}
    site.health.succeeded(site.row(1), charge)
    assert len(site.offered()) == 4


def test_a_probe_has_a_candidate_behind_it_even_if_one_is_configured():
    site = Site(2)
    site.router = Router(site.pods, np.random.default_rng(0), candidates=1)
    site.break_pods(1)
    site.half_open(1)
    _, booking = site.book()
    assert [pod.name for pod in booking.pods] == ["pod-1", "pod-0"]


def test_the_only_pod_is_its_own_probe():
    site = Site(1)
    site.break_pods(0)
    site.half_open(0)
    charge, _ = site.book()
    _, second = site.book()
    assert second.pods[0].name == "pod-0"
    site.health.failed(site.row(0), Failure.RESET, "c2")
    assert site.health.state(site.row(0)) is CircuitState.HALF_OPEN, "the second is no probe"
    site.health.succeeded(site.row(0), charge)
    assert site.health.state(site.row(0)) is CircuitState.CLOSED


def test_a_released_probe_of_which_nobody_tells_closes_the_circuit():
    site = Site(2)
    for _ in range(3):
        site.health.failed(site.row(1), Failure.RESET)
    site.half_open(1)
    _, booking = site.book()
    site.now += 5
    site.health.due()
    assert site.health.describe(site.row(1)) == "half_open"
    booking.lease.release()
    site.health.due()
    site.now += 5
    site.health.due()
    assert site.health.describe(site.row(1)) == "closed"


def test_explanations_show_the_probe_first_and_the_sick_last():
    site = Site(6)
    site.break_pods(1, 2)
    site.half_open(1)
    site.sleep(5)
    policy = site.router.policy("least-request")
    assert policy is not None
    explained = site.router.explain(policy, RoutingRequest("m"))
    assert [(c.place, c.pod.name, c.health) for c in (explained[0], *explained[-2:])] == [
        (1, "pod-1", "half_open"),
        (None, "pod-2", "open"),
        (None, "pod-5", "asleep"),
    ]
    assert sorted((c.place, c.health) for c in explained if c.place) == [(1, "half_open")] + [
        (place, "closed") for place in (2, 3, 4)
    ]
    assert site.book()[1].branch == "probe", "an explanation changes nothing"


def test_a_successor_starts_well_and_hears_nothing_of_its_predecessor():
    site = Site(2)
    site.break_pods(0)
    old = site.health.circuit(site.row(0))
    site.serve(0, 1, uid="new")
    assert site.health.state(site.row(0)) is CircuitState.CLOSED
    assert old is not None
    site.now += 60
    old.checked(passed=True)
    assert site.offered() == {"pod-0", "pod-1"}
    assert not site.health.transitions[CircuitState.HALF_OPEN, Failure.UNAVAILABLE]
    assert site.health.lived(site.row(0), 60)
    assert not site.health.lived(site.row(0), 61), "what took longer was begun by the predecessor"


def test_changes_are_told_and_counted():
    site = Site(2)
    told: list[tuple[int, str]] = []

    def note(row: int, circuit: Circuit) -> None:
        told.append((row, repr(circuit)))

    site.health.on_change = note
    site.break_pods(1)
    assert told == [(site.row(1), "<Circuit open after unavailable, 0 attempts>")]
    assert site.health.transitions == {(CircuitState.OPEN, Failure.UNAVAILABLE): 1}
    assert repr(site.health) == "<PodHealth 1 sick, 0 asleep>"


@given(
    count=st.integers(1, 12),
    share=st.floats(0.0, 1.0),
    sick=st.sets(st.integers(0, 11)),
    asleep=st.sets(st.integers(0, 11)),
)
@settings(max_examples=200, deadline=None)
def test_somebody_is_always_offered_and_not_too_many_are_ejected(
    count: int, share: float, sick: set[int], asleep: set[int]
):
    site = Site(count, share)
    sick, asleep = {n for n in sick if n < count}, {n for n in asleep if n < count}
    site.break_pods(*sick)
    site.sleep(*asleep)
    awake = set(range(count)) - asleep or set(range(count))
    offered = {int(name.removeprefix("pod-")) for name in site.offered()}
    assert offered
    assert offered <= awake
    assert awake - sick <= offered
    assert len(awake - offered) <= share * len(awake) + 1e-9


class Life(RuleBasedStateMachine):
    """Pods come, go, fail and recover in any order: no circuit outlives its pod, one probe is out at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site(0)
        self.probes: dict[str, tuple[str, str, Lease]] = {}
        self.uids: dict[int, str] = {}

    @rule(alive=st.dictionaries(st.integers(0, 5), st.sampled_from("ab"), min_size=1))
    def discover(self, alive: dict[int, str]) -> None:
        pods = tuple(PodSpec(f"pod-{n}", f"10.0.0.{n}:8000", ("m",), uid=uid) for n, uid in alive.items())
        self.site.pods.apply(ClusterState(pods, frozenset({"m"})))
        self.uids = alive

    @rule(number=st.integers(0, 5), failure=st.sampled_from(Failure))
    def fail(self, number: int, failure: Failure) -> None:
        row = self.site.pods.row_of(f"10.0.0.{number}:8000")
        if row is not None:
            self.site.health.failed(row, failure)

    @rule(seconds=st.floats(0.1, 40.0), passed=st.booleans())
    def look(self, seconds: float, passed: bool) -> None:
        self.site.now += seconds
        for _, circuit in self.site.health.due():
            circuit.checked(passed=passed)

    @rule()
    def request(self) -> None:
        if not self.uids:
            return
        charge, booking = self.site.book()
        if booking.branch == "probe":
            row = booking.lease.row
            assert self.site.health.state(row) is CircuitState.HALF_OPEN
            assert self.site.health.offer(self.site.pods.view("m").rows).probe != row
            self.probes[charge] = (booking.pods[0].address, booking.pods[0].uid, booking.lease)

    @rule(how=st.sampled_from(["succeeded", "failed", "unclear"]))
    def tell(self, how: str) -> None:
        if not self.probes:
            return
        charge, (address, uid, lease) = self.probes.popitem()
        row = self.site.pods.row_of(address)
        lease.release()
        if row is None or self.site.pods.spec(row).uid != uid:
            return
        if how == "succeeded":
            self.site.health.succeeded(row, charge)
        elif how == "failed":
            self.site.health.failed(row, Failure.RESET, charge)
        else:
            self.site.health.unclear(row, charge)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        rows = {row for row, _ in self.site.pods.items()}
        health = self.site.health
        assert health._circuits.keys() <= rows
        assert health.sick == {row for row, c in health._circuits.items() if c.state is not CircuitState.CLOSED}
        assert health._since_seconds.keys() == rows
        if rows:
            assert self.site.offered()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
