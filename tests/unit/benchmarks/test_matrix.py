"""What is measured, and what becomes of it."""

from __future__ import annotations

import pytest

from benchmarks.load import Outcome
from benchmarks.overhead.matrix import BUSY, PACED, PLAIN, SIZES, SMALL, STEADY, STREAM, Cell, everything, quick, usual
from benchmarks.overhead.measuring import Measured, round_of
from benchmarks.overhead.promises import promises
from benchmarks.overhead.report import ADDED_P50, P50, PLUGIN, as_result
from benchmarks.overhead.variants import ALONE, ECHO, FREE, MAIN, SUBJECTS, strategies


def test_the_usual_run_has_every_subject_at_both_responses_and_three_paces() -> None:
    cells = list(usual(SUBJECTS, strategies(), MAIN))
    small = [(cell, subjects) for cell, subjects in cells if cell.size == SMALL and len(subjects) == len(SUBJECTS)]
    assert [cell.response for cell, _ in small] == [PLAIN] * 3 + [STREAM] * 3
    for name in MAIN:
        assert {cell.size for cell, subjects in cells if name in [one.name for one in subjects]} == set(SIZES)
    alone = [subjects[0] for cell, subjects in cells if cell == BUSY and len(subjects) == 1]
    assert alone == list(strategies())


def test_the_full_run_has_all() -> None:
    cells = dict(everything(SUBJECTS, strategies()))
    for size in SIZES:
        for response in (PLAIN, STREAM):
            assert len(cells[Cell(response, size, PACED)]) == len(SUBJECTS) + len(strategies())


def test_a_quick_run_is_short() -> None:
    assert sum(cell.load(0.06).requests * len(subjects) for cell, subjects in quick(SUBJECTS[:4], strategies())) < 1000


def test_loads() -> None:
    assert (BUSY.load().concurrency, BUSY.load().rate_per_second) == (32, 0)
    assert (STEADY.load().rate_per_second, STEADY.load().body_bytes) == (200, 1200)
    assert Cell(STREAM, SMALL, PACED).load(0.0).requests == 2


def outcome(ttfb_ms: float) -> Outcome:
    return Outcome(completed=10, seconds=2.0, cpu_seconds=0.001, ttfb_ms=[ttfb_ms] * 10)


@pytest.fixture
def measured() -> Measured:
    measured = Measured()
    for subject, plugin_us, ttfb_ms in ((ALONE, 0, 1.0), (ECHO, 300, 3.0), (FREE, 60, 2.5)):
        rounds = [round_of(outcome(ttfb_ms + number), 1e-3, plugin_us * 1e-5) for number in range(2)]
        measured.rounds[BUSY.path][subject] = rounds
        measured.steady_ttfb_ms[subject] = [ttfb_ms] * 10
    return measured


def test_a_round_is_per_completed_request() -> None:
    one = round_of(outcome(1.0), 0.001, -0.001)
    assert (one.envoy_us, one.plugin_us, one.client_us, one.per_second) == (100, 0, 100, 5)


def test_nothing_is_promised_of_what_was_not_measured(measured: Measured) -> None:
    found = {line.what: line.measured for line in promises(measured)}
    assert found["plain: plugin CPU, no limits / grpc.aio echo, second goal"] == pytest.approx(0.2)
    assert found["plain: plugin CPU, no limits, second goal"] == pytest.approx(60)
    assert found["added time to first byte at 200/s, median, first goal"] == 1.5
    assert not [what for what in found if what.startswith("streams")]


def test_times_are_added_to_those_of_envoy_alone_in_the_same_repeat(measured: Measured) -> None:
    result = as_result(measured, {}, 2)
    assert result[f"{BUSY.path}/{ALONE}/{P50}"].values == (1.0, 2.0)
    assert result[f"{BUSY.path}/{FREE}/{ADDED_P50}"].values == (1.5, 1.5)
    assert result[f"{BUSY.path}/{ECHO}/{PLUGIN}"].values == (300.0, 300.0)
    assert f"{BUSY.path}/{ALONE}/{ADDED_P50}" not in [figure.path for figure in result.figures]
