"""What a first token waits for beside prompts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.handover import DEFAULT_SECONDS, Handovers


@pytest.mark.parametrize("rate", [4000.0, 34_000.0])
def test_it_is_told_from_computing(rate: float):
    handovers, source = Handovers(), random.Random(1)
    for _ in range(100):
        tokens = source.uniform(500.0, 4000.0)
        handovers.lesson(3, tokens, 0.05 + tokens / rate * source.uniform(0.9, 1.1), 0.8 * rate)
    assert handovers.seconds(3) == pytest.approx(0.05, abs=0.03)
    assert handovers.computing(3, 0.2) == pytest.approx(0.15, abs=0.03)


def test_before_the_first_lesson_and_for_a_new_pod_it_is_assumed():
    handovers = Handovers()
    handovers.lesson(0, 1000.0, 0.3, 8000.0)
    assert handovers.seconds(0) != DEFAULT_SECONDS
    handovers.reset(0)
    assert handovers.seconds(0) == handovers.seconds(1) == DEFAULT_SECONDS


@given(
    st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(1e-6, 1e4)), max_size=30),
    st.floats(100.0, 1e6),
    st.floats(1e-6, 1e4),
)
def test_it_never_takes_all_of_a_first_token(lessons: list[tuple[float, float]], rate: float, ttft_seconds: float):
    handovers = Handovers()
    for tokens, seconds in lessons:
        handovers.lesson(0, tokens, seconds, rate)
    assert 0.0 <= handovers.seconds(0) <= 0.2
    assert 0.25 * ttft_seconds <= handovers.computing(0, ttft_seconds) <= ttft_seconds
