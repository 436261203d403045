"""Steps of decoding, learned from lessons whose truth is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.decode_pace import _PRIOR_SEQUENCES, DEFAULT_SHARE, LOGGED_SECONDS, StepLine
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def table_of(count: int, clock: Callable[[], float] = lambda: 0.0) -> PodTable:
    table = PodTable(clock)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
    table.apply(ClusterState(specs, frozenset()))
    return table


def test_base_and_slope_are_found():
    table = table_of(2)
    decode = table.books.decode
    for number in range(400):
        sequences = 1.0 + number % 40
        decode.lesson(0, 100.0, sequences, 0.006 + 0.0001 * sequences)
        decode.lesson(1, 100.0, sequences, 2 * (0.006 + 0.0001 * sequences))
    decode.show_model(0)
    each = [table.books.cells.decode_request_seconds[row] for row in (0, 1)]
    base = [table.books.cells.decode_base_seconds[row] for row in (0, 1)]
    assert base[0] + 20 * each[0] == pytest.approx(0.008, rel=0.08)
    assert each[0] == pytest.approx(0.0001, rel=0.25)
    assert each[1] / each[0] == pytest.approx(2.0, rel=0.05), "a pod that takes twice as long for everything"


def test_engines_that_do_not_tell_are_known_by_the_log():
    seconds = itertools.count().__next__
    table = table_of(2, lambda: float(seconds()))
    for _ in range(100):
        table.observe("10.0.0.0:8000", ttft_seconds=None, tpot_seconds=0.01)
        table.observe("10.0.0.1:8000", ttft_seconds=None, tpot_seconds=0.03)
    each = [table.books.cells.decode_request_seconds[row] for row in (0, 1)]
    assert each[1] / each[0] == pytest.approx(3.0, rel=0.1)


def test_lines_of_one_moment_teach_together_by_their_mean():
    now = [100.0]
    tables = [table_of(1, lambda: now[0]) for _ in range(2)]
    together, alone = (table.books.decode for table in tables)
    for decode in (together, alone):
        decode.logged(0, 0.02)
    before = together.step_seconds(0, 1.0)
    for tpot in (0.01, 0.05):
        together.logged(0, tpot)
        assert together.step_seconds(0, 1.0) == before, "within the moment"
    now[0] += LOGGED_SECONDS
    together.logged(0, 0.03)
    alone.lesson(0, 3 * 64.0, 1.0, 0.03)
    assert together.step_seconds(0, 1.0) == pytest.approx(alone.step_seconds(0, 1.0), rel=1e-9)
    assert together.step_seconds(0, 1.0) != before


def test_the_log_is_not_heard_where_pages_tell():
    table = table_of(1)
    table.columns.decoded_tokens[0] = 100.0
    before = table.books.decode.step_seconds(0, 8.0)
    table.observe("10.0.0.0:8000", ttft_seconds=None, tpot_seconds=5.0)
    assert table.books.decode.step_seconds(0, 8.0) == before


@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(1, 2000), st.floats(1e-5, 100)), min_size=1, max_size=50))
def test_neither_part_of_a_step_is_below_zero_or_above_what_was_seen(lessons: list[tuple[float, float, float]]):
    line = StepLine()
    for tokens, sequences, seconds in lessons:
        line.add(tokens, sequences, seconds)
    base, slope = line.fit()
    assert base >= -1e-9
    assert slope >= 0.0
    # Where lessons contradict it, the prior's line at its own batch is the most that the base may be.
    most = 1.0 + DEFAULT_SHARE * _PRIOR_SEQUENCES
    assert base <= most * max(0.02, *(seconds for _, _, seconds in lessons)) + 1e-9
