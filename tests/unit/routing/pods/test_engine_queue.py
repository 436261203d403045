"""What is left to compute, by how many requests an engine says are waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routing.pods.engine_queue import HANDOVER_SECONDS, STEP_TOKENS, WaitingLines


def line_of(*bookings: tuple[float, float]) -> WaitingLines:
    lines = WaitingLines()
    lines.grow(1)
    for at_seconds, tokens in bookings:
        lines.join(0, at_seconds, 1, tokens)
    return lines


def test_those_that_wait_are_the_last_ones():
    lines = line_of((0.0, 9000), (1.0, 5000), (2.0, 3000), (3.0, 4000))
    assert lines.bounds(0, 2, 9.0, computing=True, mean_tokens=0.0) == (7000, 12_000)
    assert [tokens for _, tokens in lines.lines[0]] == [5000, 3000, 4000], "the first is computed"


def test_an_empty_queue_leaves_what_is_under_way():
    assert line_of((0.0, 9000)).bounds(0, 0, 9.0, computing=True, mean_tokens=0.0) == (0, 9000)
    assert line_of((0.0, 100)).bounds(0, 0, 9.0, computing=True, mean_tokens=0.0) == (0, STEP_TOKENS)
    assert line_of((0.0, 9000)).bounds(0, 0, 9.0, computing=False, mean_tokens=0.0) == (0, 0)


def test_what_was_booked_a_moment_ago_may_be_on_its_way():
    lines = line_of((0.0, 9000), (8.95, 5000))
    assert lines.bounds(0, 0, 9.0, computing=False, mean_tokens=0.0) == (0, 5000)


def test_strangers_in_the_queue_are_like_the_others():
    assert line_of((0.0, 900)).bounds(0, 3, 9.0, computing=True, mean_tokens=1000.0) == (2900, 2900 + STEP_TOKENS)


def test_what_has_its_first_token_waits_no_more():
    lines = line_of((0.0, 9000), (1.0, 5000), (2.0, 3000))
    lines.computed(0, 1.0)
    assert [tokens for _, tokens in lines.lines[0]] == [3000]
    lines.reset(0)
    assert not lines.lines[0]


@given(
    st.lists(st.tuples(st.floats(0.01, 2.0), st.integers(0, 30_000)), max_size=60),
    st.floats(500.0, 50_000.0),
    st.floats(0.0, 30.0),
)
def test_the_truth_lies_between_the_bounds(gaps: list[tuple[float, int]], rate: float, look_after: float):
    # An engine that computes one prompt after the other.
    lines, now, free_at = line_of(), 0.0, 0.0
    begins: list[tuple[float, int]] = []
    for gap, tokens in gaps:
        now += gap
        lines.join(0, now, 1, tokens)
        begins.append((max(now, free_at), tokens))
        free_at = begins[-1][0] + tokens / rate
    now += HANDOVER_SECONDS + look_after
    waiting = sum(begin > now for begin, _ in begins)
    left = sum(tokens if begin > now else max(0.0, tokens - (now - begin) * rate) for begin, tokens in begins)
    least, most = lines.bounds(0, waiting, now, computing=free_at > now, mean_tokens=0.0)
    assert least <= left + 1e-6
    assert left <= most + 1e-6
