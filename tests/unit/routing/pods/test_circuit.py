"""One pod's circuit: what opens it, how it comes back, and that answers of an earlier state change nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing.pods.circuit import DEFAULT_CIRCUIT, IN_A_ROW, Circuit, CircuitState, Failure

LONGEST_SECONDS = DEFAULT_CIRCUIT.longest_delay_seconds


class World:
    def __init__(self, seed: int = 1) -> None:
        self.now = 1000.0
        self.states: list[CircuitState] = []
        self.circuit = Circuit(lambda: self.now, random.Random(seed), lambda circuit: self.states.append(circuit.state))

    def state(self) -> CircuitState:
        return self.circuit.state

    def opened(self, failure: Failure = Failure.SERVER_ERROR) -> Circuit:
        for _ in range(IN_A_ROW[failure]):
            self.circuit.failed(failure)
        assert self.state() is CircuitState.OPEN
        return self.circuit

    def half_opened(self, failure: Failure = Failure.SERVER_ERROR) -> Circuit:
        circuit = self.opened(failure)
        self.now = circuit.retry_at_seconds
        circuit.checked(passed=True)
        assert self.state() is CircuitState.HALF_OPEN
        return circuit


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("failure", "in_a_row"), IN_A_ROW.items())
def test_n_failures_of_a_kind_in_a_row_open_it(world: World, failure: Failure, in_a_row: int):
    for _ in range(in_a_row - 1):
        world.circuit.failed(failure)
    assert world.state() is CircuitState.CLOSED
    world.circuit.failed(failure)
    assert (world.state(), world.circuit.reason) == (CircuitState.OPEN, failure)
    assert world.circuit.failures == {failure: in_a_row}
    attempts = 0 if failure in (Failure.UNAVAILABLE, Failure.PASSED_OVER) else 1
    assert repr(world.circuit) == f"<Circuit open after {failure}, {attempts} attempts>"


def test_kinds_that_mix_add_up(world: World):
    for failure in (Failure.CONNECTION, Failure.RESET, Failure.SERVER_ERROR):  # 1/2 + 1/3 + 1/5 > 1
        assert world.state() is CircuitState.CLOSED
        world.circuit.failed(failure)
    assert world.state() is CircuitState.OPEN


def test_a_good_answer_clears_the_streak(world: World):
    for _ in range(3):
        for _ in range(4):
            world.circuit.failed(Failure.SERVER_ERROR)
        world.circuit.succeeded()
    assert world.state() is CircuitState.CLOSED


def test_a_good_scrape_clears_only_what_scrapes_said(world: World):
    for _ in range(4):
        world.circuit.failed(Failure.SERVER_ERROR)
        world.circuit.failed(Failure.SCRAPE_REFUSED)
        world.circuit.scraped()
    assert world.state() is CircuitState.CLOSED
    world.circuit.failed(Failure.SERVER_ERROR)
    assert world.state() is CircuitState.OPEN


def test_old_evidence_is_forgotten(world: World):
    world.circuit.failed(Failure.CONNECTION)
    world.now += DEFAULT_CIRCUIT.forget_seconds + 1
    world.circuit.failed(Failure.CONNECTION)
    assert world.state() is CircuitState.CLOSED


def test_the_delay_grows_with_jitter_and_is_bounded(world: World):
    circuit = world.opened()
    delays = []
    for _ in range(8):
        delays.append(circuit.retry_at_seconds - world.now)
        world.now = circuit.retry_at_seconds
        circuit.checked(passed=False)
    for delay, most in zip(delays, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert most / 2 <= delay <= most
    assert len(set(delays)) == 8
    assert circuit.failures[Failure.CHECK] == 8


def test_503_alone_makes_no_longer_delays_and_a_check_that_fails_does(world: World):
    for _ in range(5):
        circuit = world.half_opened(Failure.UNAVAILABLE)
        circuit.probe("p", lambda: False)
        circuit.failed(Failure.UNAVAILABLE, "p")
        assert 0.5 <= circuit.retry_at_seconds - world.now <= 1.0
        world.now = circuit.retry_at_seconds
        circuit.checked(passed=True)
        circuit.probe("p", lambda: False)
        circuit.succeeded("p")
    assert world.opened(Failure.UNAVAILABLE).attempts == 0
    for most in (1, 2, 4):
        world.now = world.circuit.retry_at_seconds
        world.circuit.checked(passed=False)
        assert most / 2 <= world.circuit.retry_at_seconds - world.now <= most


def test_replicas_do_not_look_at_the_same_moment():
    assert len({World(seed).opened().retry_at_seconds for seed in range(20)}) == 20


def test_nothing_is_looked_at_before_its_time(world: World):
    circuit = world.opened()
    assert not circuit.is_due
    circuit.checked(passed=True)
    assert world.state() is CircuitState.OPEN
    assert not circuit.wants_probe


def test_one_probe_and_no_second_while_it_runs(world: World):
    circuit = world.half_opened()
    assert world.circuit.wants_probe
    circuit.probe("p", lambda: False)
    assert not circuit.wants_probe
    circuit.succeeded("another")
    circuit.failed(Failure.RESET, "another")
    assert world.state() is CircuitState.HALF_OPEN, "only the probe decides"
    circuit.succeeded("p")
    assert (world.state(), circuit.reason) == (CircuitState.CLOSED, None)
    assert world.states == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]


def test_a_request_that_surely_began_half_open_closes_it_too(world: World):
    world.half_opened()
    world.now += 8.0
    world.circuit.succeeded("begun before", took_seconds=3.0)
    assert world.state() is CircuitState.HALF_OPEN, "the log may have kept it for 5 s"
    world.circuit.succeeded("begun since", took_seconds=2.9)
    assert world.state() is CircuitState.CLOSED


def test_a_failed_probe_opens_with_the_next_delay(world: World):
    circuit = world.half_opened()
    circuit.probe("p", lambda: False)
    circuit.failed(Failure.SERVER_ERROR, "p")
    assert (world.state(), circuit.reason) == (CircuitState.OPEN, Failure.SERVER_ERROR)
    assert 1.0 <= circuit.retry_at_seconds - world.now <= 2.0
    circuit.failed(Failure.SERVER_ERROR, "p")
    assert circuit.attempts == 2, "it is told once"


def test_a_probe_without_a_verdict_makes_room_for_the_next(world: World):
    circuit = world.half_opened()
    circuit.probe("p", lambda: False)
    circuit.unclear("p")
    assert circuit.wants_probe
    circuit.succeeded("p")
    assert world.state() is CircuitState.HALF_OPEN


def test_a_long_probe_lets_others_out_ever_more_rarely_and_still_counts(world: World):
    circuit = world.half_opened()
    begun = world.now
    for number in range(4):
        while not circuit.wants_probe:
            world.now += 1.0
        circuit.probe(f"p{number}", lambda: False)
    assert world.now - begun == pytest.approx(10 + 20 + 40, abs=3)
    circuit.succeeded("p0")
    assert world.state() is CircuitState.CLOSED


def test_a_probe_that_ended_in_silence_counts_as_a_success(world: World):
    circuit = world.half_opened()
    over = False
    circuit.probe("p", lambda: over)
    world.now += 100
    circuit.tick()
    over = True
    circuit.tick()
    world.now += DEFAULT_CIRCUIT.told_within_seconds - 0.1
    circuit.tick()
    assert world.state() is CircuitState.HALF_OPEN
    world.now += 0.1
    circuit.tick()
    assert world.state() is CircuitState.CLOSED


@pytest.mark.parametrize("failure", [Failure.UNAVAILABLE, Failure.PASSED_OVER, Failure.CONNECTION])
def test_what_fails_at_once_is_trusted_while_its_probe_runs(world: World, failure: Failure):
    circuit = world.half_opened(failure)
    circuit.probe("p", lambda: False)
    world.now += DEFAULT_CIRCUIT.told_within_seconds - 0.1
    circuit.tick()
    assert world.state() is CircuitState.HALF_OPEN
    world.now += 0.1
    circuit.tick()
    assert world.state() is CircuitState.CLOSED


def test_soon_after_closing_the_delays_go_on_growing(world: World):
    for attempts in (1, 2, 3):
        circuit = world.half_opened()
        assert circuit.attempts == attempts
        circuit.probe("p", lambda: False)
        circuit.succeeded("p")
    world.now += DEFAULT_CIRCUIT.calm_seconds
    assert world.opened().attempts == 1


class CircuitMachine(RuleBasedStateMachine):
    """Any order of events: the states follow the drawing, delays are bounded, and one probe is out at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.circuit = self.world.circuit
        self.before = CircuitState.CLOSED
        self.live_probes: dict[str, float] = {}
        self.number = 0

    @rule(seconds=st.floats(0.0, 20.0))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(failure=st.sampled_from(Failure))
    def fail(self, failure: Failure) -> None:
        before = self.circuit.state
        self.circuit.failed(failure, "somebody")
        assert before is CircuitState.CLOSED or self.circuit.state is before

    @rule()
    def succeed(self) -> None:
        before = self.circuit.state
        self.circuit.succeeded("somebody")
        assert self.circuit.state is before

    @rule(passed=st.booleans())
    def check(self, passed: bool) -> None:
        due, before = self.circuit.is_due, self.circuit.state
        self.circuit.checked(passed=passed)
        expected = CircuitState.HALF_OPEN if due and passed else before
        assert self.circuit.state is expected

    @rule()
    def tick(self) -> None:
        before = self.circuit.state
        self.circuit.tick()
        if self.circuit.state is not before:
            assert (before, self.circuit.state) == (CircuitState.HALF_OPEN, CircuitState.CLOSED)
            self.live_probes.clear()

    @precondition(lambda self: self.circuit.wants_probe)
    @rule()
    def probe(self) -> None:
        young = [at for at in self.live_probes.values() if self.world.now - at < DEFAULT_CIRCUIT.probe_seconds]
        assert not young, "a probe of the last seconds is still out"
        self.number += 1
        self.live_probes[f"p{self.number}"] = self.world.now
        self.circuit.probe(f"p{self.number}", lambda: False)

    @precondition(lambda self: self.live_probes)
    @rule(how=st.sampled_from(["succeeded", "failed", "unclear"]), data=st.data())
    def tell(self, how: str, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.live_probes)))
        del self.live_probes[name]
        if how == "succeeded":
            self.circuit.succeeded(name)
            assert self.circuit.state is CircuitState.CLOSED
        elif how == "failed":
            self.circuit.failed(Failure.RESET, name)
            assert self.circuit.state is CircuitState.OPEN
        else:
            self.circuit.unclear(name)
            assert self.circuit.state is CircuitState.HALF_OPEN
        if how != "unclear":
            self.live_probes.clear()

    @invariant()
    def bounded(self) -> None:
        assert self.circuit.retry_at_seconds - self.world.now <= LONGEST_SECONDS
        assert self.circuit.wants_probe <= (self.circuit.state is CircuitState.HALF_OPEN)
        assert (self.circuit.reason is None) == (self.circuit.state is CircuitState.CLOSED)


TestCircuitStates = CircuitMachine.TestCase
TestCircuitStates.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_the_jitter_takes_up_to_half_of_the_delay():
    delays = []
    for seed in range(200):
        world = World(seed)
        delays.append(world.opened().retry_at_seconds - world.now)
    assert 0.5 < min(delays) < 0.52
    assert 0.98 < max(delays) <= DEFAULT_CIRCUIT.first_delay_seconds


def test_of_two_probes_the_one_without_a_verdict_makes_no_room_for_a_third(world: World):
    circuit = world.half_opened()
    circuit.probe("first", lambda: False)
    world.now += DEFAULT_CIRCUIT.probe_seconds
    assert circuit.wants_probe
    circuit.probe("second", lambda: False)
    wants = []
    for charge_id in ("first", "nobody", "second"):
        circuit.unclear(charge_id)
        wants.append(circuit.wants_probe)
    assert wants == [False, False, True]
