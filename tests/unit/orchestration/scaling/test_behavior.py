"""Stabilisation and rate policies of `autoscaling/v2`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestration.scaling.behavior import Behavior, Direction, Pacing, RatePolicy
from orchestration.scaling.samples import Recommendation, Why


def wish(replicas: int) -> Recommendation:
    return Recommendation(replicas, "wished")


def test_growth_by_the_more_lenient_policy():
    assert Pacing(Behavior()).paced(0, 2, wish(100)).replicas == 6  # 4 pods are more than 100 % of 2
    assert Pacing(Behavior()).paced(0, 10, wish(100)).replicas == 20


def test_what_was_added_in_the_period_counts():
    pacing = Pacing(Behavior())
    pacing.paced(0, 10, wish(100))
    pacing.changed(0, 10, 20)
    assert pacing.paced(10, 20, wish(100)).replicas == 20
    assert pacing.paced(16, 20, wish(100)).replicas == 40


def test_shrinking_waits_for_the_largest_wish_of_five_minutes():
    pacing = Pacing(Behavior())
    assert pacing.paced(0, 8, wish(8)).replicas == 8
    assert pacing.paced(15, 8, wish(2)).why == Why.DELAYED
    assert pacing.paced(301, 8, wish(3)).replicas == 3  # the wish of 8 is out, that of 2 is smaller


def test_a_controller_that_starts_anew_shrinks_nothing_at_once():
    assert Pacing(Behavior()).paced(1000, 8, wish(1)).replicas == 8


def test_growth_may_wait_too():
    pacing = Pacing(Behavior(up=Direction(60)))
    assert pacing.paced(0, 2, wish(5)).replicas == 2
    assert pacing.paced(61, 2, wish(5)).replicas == 5


def test_a_direction_may_be_switched_off():
    pacing = Pacing(Behavior(down=Direction(0, (), "Disabled"), up=Direction(0, (), "Disabled")))
    assert [pacing.paced(at, 5, wish(size)).replicas for at, size in ((0, 1), (1, 9))] == [5, 5]


def test_the_strictest_policy_on_demand():
    policies = (RatePolicy("Percent", 50, 60), RatePolicy("Pods", 1, 60))
    pacing = Pacing(Behavior(down=Direction(0, policies, "Min")))
    assert pacing.paced(0, 10, wish(1)).replicas == 9


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 200)), min_size=1, max_size=30), st.integers(1, 50))
def test_never_beyond_what_was_wished_or_is(steps: list[tuple[int, int]], replicas: int):
    pacing, now = Pacing(Behavior()), 0.0
    wishes = [replicas]
    for wait, size in steps:
        now += wait
        wishes.append(size)
        after = pacing.paced(now, replicas, wish(size)).replicas
        assert min(wishes) <= after <= max(wishes)
        assert after <= max(replicas * 2, replicas + 4)
        pacing.changed(now, replicas, after)
        replicas = after
