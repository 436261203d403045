"""Several metrics, bounds, and zero."""

from __future__ import annotations

import pytest

from orchestration.scaling.annotations import asked
from orchestration.scaling.autoscaler import Autoscaler
from orchestration.scaling.behavior import Behavior, Direction
from orchestration.scaling.hpa import Hpa
from orchestration.scaling.samples import Observation, PodSample, Why
from orchestration.scaling.schedules import SizeBounds
from orchestration.scaling.strategies import behavior_of, strategy

AT_ONCE = Behavior(Direction(0), Direction(0))
BOUNDS = SizeBounds(1, 10)


def seen(*usages: float | None, at: float = 0, replicas: int | None = None) -> Observation:
    pods = tuple(PodSample(True, usage) for usage in usages)
    return Observation(at, len(pods) if replicas is None else replicas, pods)


def test_the_largest_wish_wins_and_one_that_is_unknown_stops_a_shrinking_only():
    two = Autoscaler([Hpa(0.5), Hpa(10)], AT_ONCE)
    assert two.decide([seen(0.8, 0.8), seen(1, 1)], BOUNDS).replicas == 4
    assert two.decide([seen(0.8, 0.8), seen(None, None)], BOUNDS).replicas == 4
    assert two.decide([seen(0.1, 0.1), seen(None, None)], BOUNDS).replicas == 2


def test_nothing_known_is_said_and_changes_nothing():
    decision = Autoscaler([Hpa(0.5)], AT_ONCE).decide([seen(None, None)], BOUNDS)
    assert (decision.replicas, decision.active, decision.why) == (2, False, Why.NO_METRICS)


def test_bounds_hold_whatever_is_known():
    decision = Autoscaler([Hpa(0.5)], AT_ONCE).decide([seen(None, replicas=1)], SizeBounds(3, 5))
    assert (decision.replicas, decision.why, decision.limited) == (3, Why.BOUNDS, True)
    assert Autoscaler([Hpa(0.5)], AT_ONCE).decide([seen(*[1.0] * 4)], SizeBounds(1, 5)).replicas == 5


def test_no_metric_makes_it_zero():
    assert Autoscaler([Hpa(0.5)], AT_ONCE).decide([seen(0, 0)], SizeBounds(0, 5)).replicas == 1


def test_to_zero_after_long_enough_and_back_for_one_request():
    one = Autoscaler([Hpa(0.5)], AT_ONCE, activation_scale=2, idle_seconds=300)
    zero = SizeBounds(0, 5)
    assert one.decide([seen(0)], zero, idle_for_seconds=299).replicas == 1
    assert one.decide([seen(0)], zero, idle_for_seconds=300, waiting=1).replicas == 1
    assert one.decide([seen(0)], zero, idle_for_seconds=300).replicas == 0
    assert one.decide([seen(0)], BOUNDS, idle_for_seconds=300).replicas == 1
    assert one.decide([seen(replicas=0)], zero).replicas == 0
    assert one.decide([seen(replicas=0)], zero, waiting=50).replicas == 2


@pytest.mark.parametrize("name", ["HPA", "KPA", "APA"])
def test_a_restart_shrinks_nothing_at_once(name: str):
    wanted = asked({}, {})
    one = Autoscaler([strategy(name, 0.5, wanted)], behavior_of(name, wanted))  # type: ignore[arg-type]  # names of a list
    assert one.decide([seen(*[0.01] * 6)], BOUNDS).replicas == 6
