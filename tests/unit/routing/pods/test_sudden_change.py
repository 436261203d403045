"""A pod that is suddenly slower is believed at once, by enough evidence, and forgiven."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

CHANCE = 0.3


def table() -> PodTable:
    pods = PodTable(lambda: 0.0)
    pods.apply(ClusterState((PodSpec("pod-0", "10.0.0.0:8000", ("m",)),), frozenset()))
    pods.columns.prefill_tokens_per_second[0] = 8000.0
    for _ in range(20):
        pods.books.speeds.seen(0, 1.0, 1.0, CHANCE)
    return pods


def test_two_seconds_of_a_quarters_work_are_enough():
    pods = table()
    for _ in range(2):
        pods.books.speeds.seen(0, 0.25, 1.0, CHANCE)
    assert pods.books.speeds.of(0) < 0.65
    for _ in range(3):
        pods.books.speeds.seen(0, 0.25, 1.0, CHANCE)
    assert pods.books.speeds.of(0) == pytest.approx(0.25, rel=0.35)
    assert pods.books.rate_of(0) == pytest.approx(2000.0, rel=0.4), "its rate is that of the moment"


def test_it_recovers_by_work_as_fast():
    pods = table()
    for _ in range(5):
        pods.books.speeds.seen(0, 0.25, 1.0, CHANCE)
    for _ in range(5):
        pods.books.speeds.seen(0, 1.0, 1.0, CHANCE)
    assert pods.books.rate_of(0) == pytest.approx(8000.0, rel=0.35)


def test_it_recovers_by_having_nothing_to_do():
    pods = table()
    for _ in range(5):
        pods.books.speeds.seen(0, 0.25, 1.0, CHANCE)
    for _ in range(10):
        pods.books.speeds.idle(0, 1.0)
    assert pods.books.speeds.of(0) > 0.75


def test_half_a_prompt_more_or_less_is_no_change():
    pods = table()
    for number in range(100):
        pods.books.speeds.seen(0, 1.0 + (0.2 if number % 2 else -0.2), 1.0, CHANCE)
    assert pods.books.speeds.of(0) == 1.0


LESSONS = st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.01, 5.0), st.floats(0.0, 3.0)), max_size=80)


@given(LESSONS)
def test_speeds_and_rates_are_bounded_whatever_is_seen(lessons: list[tuple[float, float, float]]):
    pods = table()
    for work, seconds, chance in lessons:
        pods.books.speeds.seen(0, work, seconds, chance)
        assert 0.019 <= pods.books.speeds.of(0) <= 50.0
        assert pods.books.rate_of(0) > 0.0
        assert pods.books.rate_of(0) <= 8000.0 * 1.01, "faster than it ever was it is by the averages alone"


@given(st.floats(0.05, 0.9), st.floats(0.0, 0.05), st.integers(3, 30))
def test_less_work_never_makes_it_faster(work: float, less: float, times: int):
    one, other = table(), table()
    for _ in range(times):
        one.books.speeds.seen(0, work, 1.0, CHANCE)
        other.books.speeds.seen(0, work - less, 1.0, CHANCE)
    # What has been taken into the averages may have turned the order of speeds; that of rates stays.
    assert other.books.rate_of(0) <= one.books.rate_of(0) * 1.7
