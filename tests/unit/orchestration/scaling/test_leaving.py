"""Who goes is told first, ends what it has, and then goes; nobody is drained without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestration.scaling.leaving import DRAIN_SECONDS, Leaving
from orchestration.scaling.victims import DrainCandidate


def pods(*in_flight: int) -> list[DrainCandidate]:
    return [DrainCandidate(f"p{number}", True, busy, 0.0, 0.0) for number, busy in enumerate(in_flight)]


def test_it_waits_for_what_is_in_flight_but_not_for_ever():
    leaving = Leaving()
    assert leaving.step(0, 2, 1, pods(5, 1)) == leaving.step(1, 2, 1, pods(5, 1))
    leave = leaving.step(2, 2, 1, pods(5, 1))
    assert (leave.replicas, leave.marks) == (2, {"p1": -1})
    assert leaving.step(3, 2, 1, pods(5, 0)).replicas == 1
    slow = Leaving()
    slow.step(0, 2, 1, pods(5, 1))
    assert slow.step(DRAIN_SECONDS, 2, 1, pods(5, 1)).replicas == 1


def test_never_in_the_look_that_marks_it():
    assert Leaving().step(0, 2, 1, pods(0, 0)).replicas == 2


def test_of_several_those_that_are_done_cost_least():
    leaving = Leaving()
    leaving.step(0, 3, 1, pods(9, 1, 2))
    leave = leaving.step(5, 3, 1, pods(9, 1, 0))
    assert leave.replicas == 2
    assert leave.marks["p2"] < leave.marks["p1"] < 0


def test_marks_go_when_the_size_is_wanted_again():
    leaving = Leaving()
    leaving.step(0, 2, 1, pods(1, 1))
    assert leaving.step(5, 2, 2, pods(1, 1)).marks == {}
    assert leaving.step(6, 2, 1, pods(0, 0)).replicas == 2  # drained anew


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_never_smaller_than_wanted_and_never_larger_than_there_is(busy: list[int], wishes: list[int]):
    leaving, replicas = Leaving(), len(busy)
    for number, wanted in enumerate(wishes):
        leave = leaving.step(number * 5.0, replicas, wanted, pods(*busy[:replicas]))
        assert min(wanted, replicas) <= leave.replicas <= max(wanted, replicas)
        assert all(cost < 0 for cost in leave.marks.values())
        assert len(leave.marks) == max(0, replicas - wanted)
        replicas = min(replicas, leave.replicas)
