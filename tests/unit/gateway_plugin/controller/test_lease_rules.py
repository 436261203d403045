"""Of several controllers one writes, whatever their clocks say and whenever they die."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_plugin.controller.lease_rules import LEASE_SECONDS, WRITE_SECONDS, LeaseHolder

MOMENT = datetime(2026, 11, 27, tzinfo=UTC)


def test_nobodys_is_taken_and_anothers_waited_for():
    one, other = LeaseHolder("one"), LeaseHolder("other")
    assert one.may_take({}, 0)
    spec = one.wanted({}, MOMENT)
    assert not other.may_take(spec, 0)
    assert not other.may_take(spec, LEASE_SECONDS - 0.1)
    assert other.may_take(spec, LEASE_SECONDS)


def test_a_renewal_starts_the_waiting_anew():
    one, other = LeaseHolder("one"), LeaseHolder("other")
    spec = one.wanted({}, MOMENT)
    other.may_take(spec, 0)
    spec = one.wanted(spec, MOMENT + timedelta(seconds=9))
    assert not other.may_take(spec, 14)
    assert not other.may_take(spec, 28)
    assert other.may_take(spec, 29)


def test_writing_ends_before_another_may_begin():
    one = LeaseHolder("one")
    one.taken(100)
    assert one.may_write(100 + WRITE_SECONDS - 0.1)
    assert not one.may_write(100 + WRITE_SECONDS)
    assert WRITE_SECONDS < LEASE_SECONDS


def test_who_leaves_in_order_lets_the_next_one_begin_at_once():
    one, other = LeaseHolder("one"), LeaseHolder("other")
    assert other.may_take(one.released(one.wanted({}, MOMENT), MOMENT), 0)


def test_changes_of_the_holder_are_counted():
    one, other = LeaseHolder("one"), LeaseHolder("other")
    first = one.wanted({}, MOMENT)
    assert (first["leaseTransitions"], one.wanted(first, MOMENT)["leaseTransitions"]) == (1, 1)
    assert other.wanted(first, MOMENT)["leaseTransitions"] == 2


@pytest.mark.parametrize("seed", range(20))
def test_never_two_writers_through_an_hour_of_deaths_and_skewed_clocks(seed: int):
    rng = random.Random(seed)
    lease: dict[str, Any] = {}
    alive: dict[str, LeaseHolder] = {}
    version = 0
    skew = {name: timedelta(seconds=rng.uniform(-3600, 3600)) for name in ("a", "b", "c")}
    names = dict.fromkeys(skew, 0)
    led = 0
    for step in range(1800):
        now = step * 2.0
        for name in skew:
            if rng.random() < 0.02:
                alive.pop(name, None)
            if name not in alive and rng.random() < 0.1:
                names[name] += 1
                alive[name] = LeaseHolder(f"{name}-{names[name]}")
        # All read, then all that may write do: the API takes the first of those who read the same version.
        read = {name: (version, dict(lease)) for name in alive if rng.random() < 0.9}
        for name, (seen, spec) in sorted(read.items(), key=lambda _: rng.random()):
            holder = alive[name]
            if not holder.may_take(spec, now):
                holder.lost()
            elif seen == version:
                lease, version = holder.wanted(spec, MOMENT + skew[name] + timedelta(seconds=now)), version + 1
                holder.taken(now)
        writers = [name for name, holder in alive.items() if holder.may_write(now)]
        assert len(writers) <= 1
        led += len(writers)
    assert led > 900
