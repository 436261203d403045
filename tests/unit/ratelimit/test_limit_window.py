from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.window import BUCKET_SECONDS, WINDOW_SECONDS, Window, bucket_at, counts_at

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
    assert window.seconds_until_fits(50.0, 20, 100) == 15.0
    assert window.seconds_until_fits(50.0, 80, 100) == 60.0
    assert window.seconds_until_empty(50.0) == 60.0
    assert used_at(window, 64.999) == 100
    assert used_at(window, 65.0) == 30
    assert used_at(window, 110.0) == 0
    assert window.seconds_until_empty(110.0) == 0.0


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
    assert 0 <= wait <= WINDOW_SECONDS + BUCKET_SECONDS
    if wait:
        assert used_at(window, now + wait - 1e-6) + min(cost, limit) > limit
    assert used_at(window, now + wait + 1e-6) + min(cost, limit) <= limit


def test_what_is_given_back_is_at_most_what_the_bucket_holds():
    window = spend((0, 10), (7, 5))
    window.add(0, -4)
    assert window.used == 11
    window.add(1, -100)
    assert window.used == 6


@pytest.mark.parametrize(("bucket", "expected"), [(87, False), (88, True), (100, True), (113, True), (114, False)])
def test_a_clock_that_was_set_back_forgives_only_what_it_cannot_know(bucket, expected):
    assert counts_at(bucket, 100) is expected


def test_a_window_holds_a_bounded_number_of_buckets():
    window = spend(*((float(seconds), 1) for seconds in range(0, 3600, 5)))
    assert len(window._counts) == 13


@given(st.dictionaries(st.integers(60, 140), st.integers(1, 9), max_size=20), st.integers(60, 140))
def test_it_is_empty_when_the_newest_bucket_that_counts_has_gone(counts, current):
    """Some of them in the future, too far for any clock that was only set back a little."""
    window = Window()
    for bucket, count in counts.items():
        window.roll(bucket)
        window.add(bucket, count)
    window.roll(current)
    window._counts = dict(counts)
    ends = [(bucket + 13) * BUCKET_SECONDS - 500.0 for bucket in counts if counts_at(bucket, current)]
    window.used = len(ends)
    assert window.seconds_until_empty(500.0) == max(ends, default=0.0)
