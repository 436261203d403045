"""Sizes of revisions: by hand, and over whole rollouts of every shape."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from orchestration.fleets.fleet_spec import FleetSpec
from orchestration.fleets.rollout import Revision, forgotten, sizes

SPEC = FleetSpec("f", "default", "u", 4, {}, surge=1, unavailable=1)


def revision(name: str, number: int, wanted: int, available: int | None = None) -> Revision:
    return Revision(name, number, wanted, wanted, wanted if available is None else available)


def test_the_first_set_gets_all():
    assert sizes(SPEC, None, []) == {"": 4}


def test_a_new_revision_grows_by_the_surge_and_the_old_one_shrinks():
    old = revision("old", 1, 4)
    assert sizes(SPEC, None, [old]) == {"": 1}
    assert sizes(SPEC, revision("new", 2, 1, 0), [old]) == {"old": 3}
    assert sizes(SPEC, revision("new", 2, 1, 0), [revision("old", 1, 3)]) == {"new": 2}


def test_what_never_becomes_available_stops_the_rollout():
    stuck = revision("new", 2, 2, 0)
    assert sizes(SPEC, stuck, [revision("old", 1, 3)]) == {}


def test_the_unhealthy_old_go_first():
    olds = [revision("a", 1, 2, 2), revision("b", 2, 2, 0)]
    assert sizes(SPEC, revision("new", 3, 1, 1), olds) == {"b": 0}


def test_one_cluster_with_the_default_strategy_surges():
    one = replace(SPEC, replicas=1, surge=1, unavailable=0)
    assert sizes(one, None, [revision("old", 1, 1)]) == {"": 1}
    assert sizes(one, revision("new", 2, 1, 0), [revision("old", 1, 1)]) == {}
    assert sizes(one, revision("new", 2, 1, 1), [revision("old", 1, 1)]) == {"old": 0}


def test_recreate_waits_until_nothing_is_left():
    recreate = replace(SPEC, recreate=True)
    assert sizes(recreate, None, [revision("old", 1, 4)]) == {"old": 0}
    assert sizes(recreate, None, [Revision("old", 1, 0, 2, 0)]) == {}
    assert sizes(recreate, None, [Revision("old", 1, 0, 0, 0)]) == {"": 4}
    assert sizes(recreate, revision("new", 2, 0), []) == {"new": 4}


def test_a_paused_fleet_changes_its_size_only():
    paused = replace(SPEC, paused=True)
    assert sizes(paused, None, [revision("old", 1, 4)]) == {}
    assert sizes(replace(paused, replicas=6), None, [revision("old", 1, 4)]) == {"old": 6}
    assert sizes(replace(paused, replicas=6), revision("new", 2, 1), [revision("old", 1, 4)]) == {"new": 2}


def test_history():
    olds = [Revision(str(number), number, 0, 0, 0) for number in range(1, 6)] + [Revision("busy", 0, 0, 1, 0)]
    assert forgotten(olds, 3) == ["1", "2"]
    assert forgotten(olds, 10) == []


@given(
    replicas=some.integers(0, 12),
    surge=some.integers(0, 4),
    unavailable=some.integers(0, 4),
    first=some.integers(0, 12),
    ready_in_order=some.lists(some.booleans(), max_size=30),
    recreate=some.booleans(),
)
def test_a_rollout_ends_and_keeps_its_bounds(
    replicas: int, surge: int, unavailable: int, first: int, ready_in_order: list[bool], recreate: bool
):
    if not surge and not unavailable:
        unavailable = 1
    spec = replace(SPEC, replicas=replicas, surge=surge, unavailable=unavailable, recreate=recreate)
    old = first
    new: int | None = None
    available, waits = 0, iter(ready_in_order)
    for _ in range(200):
        olds = [Revision("old", 1, old, old, old)]
        present = None if new is None else Revision("new", 2, new, new, available)
        step = sizes(spec, present, olds)
        if not step and new is not None and available == new:
            break
        old = step.get("old", old)
        if "" in step or "new" in step:
            new = step.get("", step.get("new"))
        assert new is None or 0 <= new <= max(replicas, 0)
        assert old >= 0
        if not recreate:
            assert old + (new or 0) <= max(replicas + surge, first)
            assert old + min(available, new or 0) >= min(replicas - unavailable, first)
        available = min(new or 0, available + 1) if next(waits, True) else min(new or 0, available)
    assert (old, new, available) == (0, replicas, replicas)
