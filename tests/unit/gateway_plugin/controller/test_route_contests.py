"""A quarrel over an object is ended, and a correction now and then is none."""

from __future__ import annotations

from gateway_plugin.controller.contests import MAX_CHANGES, WINDOW_SECONDS, Contests
from gateway_plugin.controller.workloads import Ref

_REF = Ref("HTTPRoute", "routes", "a")
_OTHER = Ref("HTTPRoute", "routes", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ten_changes_within_a_minute_are_a_quarrel_until_a_minute_has_passed():
    clock = Clock()
    contests = Contests(clock)
    for _ in range(MAX_CHANGES):
        assert contests.admits(_REF)
        contests.note(_REF)
        clock.now += 1
    assert not contests.admits(_REF)
    assert contests.admits(_OTHER)
    clock.now += WINDOW_SECONDS - 2
    assert not contests.admits(_REF)
    clock.now += 1
    assert contests.admits(_REF)


def test_what_is_wanted_and_not_wanted_in_turns_is_no_quarrel():
    clock = Clock()
    contests = Contests(clock)
    for number in range(4 * MAX_CHANGES):
        assert contests.admits(_REF)
        contests.note(_REF, removed=number % 2 == 1)
        clock.now += 1


def test_removals_that_are_undone_are_one():
    contests = Contests(Clock())
    contests.note(_REF)
    for _ in range(MAX_CHANGES):
        assert contests.admits(_REF)
        contests.note(_REF, removed=True)
    assert not contests.admits(_REF)


def test_changes_that_are_spread_are_none():
    clock = Clock()
    contests = Contests(clock)
    for _ in range(10 * MAX_CHANGES):
        assert contests.admits(_REF)
        contests.note(_REF)
        clock.now += WINDOW_SECONDS / (MAX_CHANGES - 1) + 0.1


def test_what_is_old_is_forgotten():
    clock = Clock()
    contests = Contests(clock)
    for number in range(100):
        contests.note(Ref("HTTPRoute", "routes", str(number)))
        clock.now += WINDOW_SECONDS / 10
    assert len(contests._changes) <= 11
