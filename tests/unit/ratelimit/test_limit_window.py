from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.window import MAX_RETRY_SECONDS, WINDOW_SECONDS, Counter, seconds_until_fits, used, window_at

counters = st.builds(Counter, st.integers(0, 10**7), st.integers(0, 10**7))
elapsed_seconds = st.floats(0, 60, exclude_max=True, allow_nan=False)


def used_after(counter: Counter, elapsed: float, wait: float) -> float:
    """The formula, `wait` seconds later, when nothing more is spent."""
    if elapsed + wait < WINDOW_SECONDS:
        return used(counter, elapsed + wait)
    if elapsed + wait < 2 * WINDOW_SECONDS:
        return used(Counter(counter.current, 0), elapsed + wait - WINDOW_SECONDS)
    return 0.0


@pytest.mark.parametrize(
    ("now", "expected"), [(0.0, (0, 0.0)), (59.5, (0, 59.5)), (60.0, (1, 0.0)), (1_700_000_000.25, (28333333, 20.25))]
)
def test_windows_are_aligned_to_the_clock(now, expected):
    assert window_at(now) == expected


def test_the_previous_window_counts_as_far_as_the_last_minute_covers_it():
    assert used(Counter(80, 30), 0.0) == 110.0
    assert used(Counter(80, 30), 15.0) == 90.0
    assert used(Counter(80, 30), 45.0) == 50.0


@pytest.mark.parametrize(
    ("counter", "elapsed", "cost", "limit", "expected"),
    [
        (Counter(80, 30), 15.0, 10, 100, 0.0),  # fits now
        (Counter(80, 30), 15.0, 20, 100, 7.5),  # the docstring's example
        (Counter(0, 100), 30.0, 1, 100, 30.6),  # the current window must become the previous one, and drain
        (Counter(0, 5000), 30.0, 1, 1000, 78.012),  # charged far beyond the limit after the fact
        (Counter(0, 100), 0.0, 100, 100, 120.0),  # the whole limit at once: both windows must be empty
        (Counter(0, 0), 10.0, 101, 100, MAX_RETRY_SECONDS),  # never
    ],
)
def test_the_wait_is_exact(counter, elapsed, cost, limit, expected):
    assert seconds_until_fits(counter, elapsed, cost, limit) == pytest.approx(expected, abs=1e-9)


@given(counters, elapsed_seconds, st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_cost_fits_after_the_wait_and_not_before(counter, elapsed, cost, limit):
    wait = seconds_until_fits(counter, elapsed, cost, limit)
    assert 0 <= wait <= MAX_RETRY_SECONDS
    if cost > limit:
        assert wait == MAX_RETRY_SECONDS
        return
    assert used_after(counter, elapsed, wait + 1e-6) + cost <= limit
    if wait > 1e-3:
        assert used_after(counter, elapsed, wait - 1e-3) + cost > limit
