"""The circuit breaker: worked examples, and any order of calls, probes and clock steps against its doc."""

from __future__ import annotations

import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ratelimit.outage.breaker import Breaker, BreakerSettings, BreakerState

SETTINGS = BreakerSettings()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


def breaker_at(clock: Clock) -> Breaker:
    return Breaker(clock, NoJitter(1), SETTINGS)


def state_of(breaker: Breaker) -> BreakerState:
    """A call, which mypy does not take for a constant."""
    return breaker.state


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.permit()
        assert permit is not None
        breaker.failed(permit)


def succeed(breaker: Breaker) -> None:
    permit = breaker.permit()
    assert permit is not None
    breaker.succeeded(permit)


def probe(breaker: Breaker, clock: Clock, *, succeeds: bool) -> None:
    clock.now += breaker.seconds_until_probe()
    permit = breaker.probe()
    assert permit is not None
    (breaker.succeeded if succeeds else breaker.failed)(permit)


def test_five_failures_in_a_row_open_it():
    breaker = breaker_at(Clock())
    fail(breaker, 4)
    succeed(breaker)
    fail(breaker, 4)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.permit() is None
    assert breaker.times_opened == 1


def test_half_of_the_last_twenty_calls_open_it():
    breaker = breaker_at(Clock())
    for _ in range(9):
        fail(breaker)
        succeed(breaker)
    succeed(breaker)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert state_of(breaker) is BreakerState.OPEN


def test_delays_grow_to_the_longest_and_start_anew_after_calm():
    clock = Clock()
    breaker = breaker_at(clock)
    fail(breaker, 5)
    delays = []
    for _ in range(5):
        delays.append(round(breaker.seconds_until_probe(), 6))
        probe(breaker, clock, succeeds=False)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0]
    probe(breaker, clock, succeeds=True)
    clock.now += SETTINGS.calm_seconds - 0.01
    fail(breaker, 5)
    assert round(breaker.seconds_until_probe(), 6) == 1.0
    probe(breaker, clock, succeeds=True)
    clock.now += SETTINGS.calm_seconds
    fail(breaker, 5)
    assert round(breaker.seconds_until_probe(), 6) == 0.1


def test_jitter_takes_up_to_half_of_a_delay_away():
    delays = set()
    for seed in range(50):
        breaker = Breaker(Clock(), random.Random(seed), SETTINGS)
        fail(breaker, 5)
        delays.add(breaker.seconds_until_probe())
    assert len(delays) == 50
    assert 0.05 <= min(delays) < 0.06
    assert 0.09 < max(delays) <= 0.1


def test_answers_that_arrive_late_change_nothing():
    clock = Clock()
    breaker = breaker_at(clock)
    late = breaker.permit()
    assert late is not None
    fail(breaker, 5)
    breaker.succeeded(late)
    assert state_of(breaker) is BreakerState.OPEN
    clock.now += 1
    assert breaker.probe() is not None
    breaker.succeeded(late)
    breaker.failed(late)
    breaker.abandoned(late)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert breaker.times_opened == 1


def test_an_abandoned_call_counts_for_nothing_and_an_abandoned_probe_is_sent_again():
    clock = Clock()
    breaker = breaker_at(clock)
    fail(breaker, 4)
    permit = breaker.permit()
    assert permit is not None
    breaker.abandoned(permit)
    fail(breaker)
    assert state_of(breaker) is BreakerState.OPEN
    clock.now += 1
    permit = breaker.probe()
    assert permit is not None
    breaker.abandoned(permit)
    assert state_of(breaker) is BreakerState.OPEN
    assert 0 < breaker.seconds_until_probe() <= 1
    probe(breaker, clock, succeeds=True)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_server_that_is_away_for_weeks_is_still_probed_every_second():
    clock = Clock()
    breaker = breaker_at(clock)
    fail(breaker, 5)
    for _ in range(2000):
        probe(breaker, clock, succeeds=False)
    assert round(breaker.seconds_until_probe(), 6) == 1.0


class AnyOrder(RuleBasedStateMachine):
    """Calls overlap: a permit is answered whenever, by whatever."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(self.clock, random.Random(7), SETTINGS)
        self.calls: list[object] = []
        self.probe_out: object = None
        # What is expected: failures in a row of calls that began since the last change of state.
        self.outcomes: list[bool] = []

    @rule()
    def call(self) -> None:
        permit = self.breaker.permit()
        assert (permit is not None) == (self.breaker.state is BreakerState.CLOSED)
        if permit is not None:
            self.calls.append(permit)

    @rule()
    def ask_for_a_probe(self) -> None:
        due = self.breaker.state is BreakerState.OPEN and self.breaker.seconds_until_probe() == 0
        permit = self.breaker.probe()
        assert (permit is not None) == due
        if permit is not None:
            assert self.probe_out is None
            self.probe_out = permit

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), verb=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def answer(self, data: st.DataObject, verb: str) -> None:
        permit = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.breaker.state
        fresh = before is BreakerState.CLOSED and permit == self.breaker.permit()
        getattr(self.breaker, verb)(permit)
        if not fresh:
            assert self.breaker.state is before
        elif verb != "abandoned":
            self.outcomes.append(verb == "succeeded")
            last = self.outcomes[-20:]
            five_in_a_row = not any(self.outcomes[-5:]) and len(self.outcomes) >= 5
            half_of_twenty = len(last) == 20 and last.count(False) >= 10
            # A success never opens it, even as the twentieth call of which ten failed.
            opens = verb == "failed" and (five_in_a_row or half_of_twenty)
            self.expect(BreakerState.OPEN if opens else BreakerState.CLOSED)

    @precondition(lambda self: self.probe_out is not None)
    @rule(succeeds=st.booleans())
    def answer_the_probe(self, succeeds: bool) -> None:
        permit, self.probe_out = self.probe_out, None
        (self.breaker.succeeded if succeeds else self.breaker.failed)(permit)  # type: ignore[arg-type]
        self.expect(BreakerState.CLOSED if succeeds else BreakerState.OPEN)

    def expect(self, state: BreakerState) -> None:
        assert self.breaker.state is state
        if state is BreakerState.OPEN:
            self.outcomes.clear()
            assert 0 < self.breaker.seconds_until_probe() <= SETTINGS.longest_delay_seconds

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def half_open_means_that_one_probe_is_out(self) -> None:
        assert (self.breaker.state is BreakerState.HALF_OPEN) == (self.probe_out is not None)


TestAnyOrder = AnyOrder.TestCase
