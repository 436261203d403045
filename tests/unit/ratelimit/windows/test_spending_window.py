from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.windows.spending import (
    BUCKET_SECONDS,
    LONGEST_WAIT_SECONDS,
    WINDOW_SECONDS,
    Window,
    bucket_at,
    counts_at,
)

spendings = st.lists(st.tuples(st.floats(0, 300, allow_nan=False), st.integers(1, 1000)), max_size=20)


def spend(*spent: tuple[float, int]) -> Window:
    window = Window()
    for seconds, count in sorted(spent):
        window.roll(bucket_at(seconds))
        window.add(bucket_at(seconds), count)
    return window


def used_at(window: Window, seconds: float) -> int:
    window.roll(bucket_at(seconds))
    return window.used


def test_the_docstrings_example():
    window = spend((3, 70), (48, 30))
    assert used_at(window, 50.0) == 100
    assert window.seconds_until_fits(50.0, 20, 100) == 12.0
    assert window.seconds_until_fits(50.0, 80, 100) == 57.0
    assert window.seconds_until_empty(50.0) == 59.0
    assert used_at(window, 63.999) == 100
    assert used_at(window, 64.0) == 30
    assert used_at(window, 109.0) == 0
    assert window.seconds_until_empty(109.0) == 0.0


def test_the_docstrings_debt():
    window = spend((3, 70), (48, 30))
    window.roll(50, 100)
    window.add(50, 150, 100)
    assert (window.used, window.debt) == (250, 150)
    assert window.seconds_until_fits(50.0, 1, 100) == LONGEST_WAIT_SECONDS
    for second, counts, debt in (
        (64, {48: 30, 64: 70}, 80),
        (109, {64: 70, 109: 30}, 50),
        (125, {109: 30, 125: 50}, 0),
    ):
        window.roll(second, 100)
        assert (window._counting(), window.debt) == (counts, debt)
    assert used_at(window, 185.0) == 50
    assert used_at(window, 186.0) == 0


def test_what_is_given_back_pays_debt_first():
    window = Window()
    window.roll(10, 100)
    window.add(10, 250, 100)
    window.add(10, -120, 100)
    assert (window.used, window.debt, window._counts) == (130, 30, {10: 100})
    window.add(10, -100, 100)
    assert (window.used, window.debt, window._counts) == (30, 0, {10: 30})


def test_a_cost_is_let_in_early_once():
    window = spend((0, 10))
    window.roll(58)
    assert not window.fits(1, 10)
    window.roll(59)
    assert window.fits(5, 10)
    window.add(59, 5)
    assert not window.fits(1, 10)


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 500)), max_size=9), st.integers(100, 400))
def test_debt_is_paid_by_a_limits_worth_in_each_minute(spent, limit):
    """Counted second by second, all that was spent counts for 61 s, and beyond the debt never more than the limit."""
    window, now, counted = Window(), 0, 0
    for later, count in spent:
        for second in range(now, now + later):
            window.roll(second, limit)
            assert window.used - window.debt <= limit
            counted += window.used - window.debt
        now += later
        window.roll(now, limit)
        window.add(now, count, limit)
    while window.used:
        counted += window.used - window.debt
        now += 1
        window.roll(now, limit)
    assert counted == 61 * sum(count for _, count in spent)


def test_debt_of_many_minutes_is_paid_in_one_step_as_in_many():
    one, many = Window(), Window()
    for window in (one, many):
        for second in (3, 17, 40):
            window.roll(second, 100)
            window.add(second, 70, 100)
        window.add(40, 5000, 100)
    for second in range(41, 2500):
        many.roll(second, 100)
    one.roll(2499, 100)
    assert (one.used, one.debt, one._counting()) == (many.used, many.debt, many._counting())
    assert one.debt > 0


@given(spendings, st.floats(0, 120, allow_nan=False))
def test_all_of_the_last_minute_counts_and_nothing_older_than_a_bucket_more(spent, later):
    now = max((seconds for seconds, _ in spent), default=0.0) + later
    used = used_at(spend(*spent), now)
    assert used >= sum(count for seconds, count in spent if seconds > now - WINDOW_SECONDS)
    assert used <= sum(count for seconds, count in spent if seconds > now - WINDOW_SECONDS - BUCKET_SECONDS)


@given(spendings, st.integers(1, 2000), st.integers(1, 2000))
def test_a_cost_fits_after_the_wait_and_not_before(spent, cost, limit):
    window = spend(*spent)
    now = max((seconds for seconds, _ in spent), default=0.0)
    wait = window.seconds_until_fits(now, cost, limit)
    assert 0 <= wait <= LONGEST_WAIT_SECONDS
    if wait:
        window.roll(bucket_at(now + wait - 1e-6))
        assert not window.fits(min(cost, limit), limit)
    window.roll(bucket_at(now + wait + 1e-6))
    # Who is over the limit, because it was lowered, may have to wait longer than anybody is told to.
    assert window.fits(min(cost, limit), limit) or wait == LONGEST_WAIT_SECONDS


def test_what_is_given_back_is_at_most_what_the_bucket_holds():
    window = spend((0, 10), (7, 5))
    window.add(0, -4)
    assert window.used == 11
    window.add(7, -100)
    assert window.used == 6


@pytest.mark.parametrize(("bucket", "expected"), [(39, False), (40, True), (100, True), (161, True), (162, False)])
def test_a_clock_that_was_set_back_forgives_only_what_it_cannot_know(bucket, expected):
    assert counts_at(bucket, 100) is expected


def test_a_window_holds_a_bounded_number_of_buckets():
    window = spend(*((float(seconds), 1) for seconds in range(3600)))
    assert len(window._counts) == 61


@given(st.dictionaries(st.integers(300, 500), st.integers(1, 9), max_size=20), st.integers(300, 500))
def test_it_is_empty_when_the_newest_bucket_that_counts_has_gone(counts, current):
    """Some of them in the future, too far for any clock that was only set back a little."""
    window = Window()
    for bucket, count in counts.items():
        window.roll(bucket)
        window.add(bucket, count)
    window.roll(current)
    window._counts = dict(counts)
    ends = [(bucket + 61) * BUCKET_SECONDS - 400.0 for bucket in counts if counts_at(bucket, current)]
    window.used = len(ends)
    assert window.seconds_until_empty(400.0) == max(ends, default=0.0)
