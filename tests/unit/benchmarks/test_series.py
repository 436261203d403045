"""Curves and numbers that benchmarks make of what they saw."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load import Outcome
from benchmarks.markdown import show, table
from benchmarks.results import Figure, Result
from benchmarks.scale.lag import lags
from benchmarks.soak.plan import Plan
from benchmarks.soak.series import per_second, series
from benchmarks.soak.soaking import Soaked
from benchmarks.soak.watching import Left, Sample


def soaked(rss_mb: list[float], warm: float = 0.0, unsettled: int = 0) -> Soaked:
    samples = [Sample(100.0 + number, value, 0, 0, unsettled) for number, value in enumerate(rss_mb)]
    left = Left(0, 0, 0, unsettled, 0, 10, 10 - unsettled, 0)
    outcomes = [Outcome(completed=2, aborted=1, ended_at=[100.5, 101.5], failed_at=[101.2], errors={"503": 1})]
    return Soaked("valkey", 100.0, 100.0 + warm, outcomes, samples, left, [(101.0, "killed")])


def test_growth_is_that_after_the_warm_up() -> None:
    assert soaked([1, 1, 1, 100, 100, 100, 105, 110, 110], warm=3).growth == pytest.approx(0.1)
    assert soaked([1, 2]).growth is None


def test_only_aborts_explain_what_was_not_settled() -> None:
    assert soaked([1], unsettled=1).left_unexplained == 0
    assert soaked([1], unsettled=3).left_unexplained == 2


def test_curves_have_seconds_since_the_beginning() -> None:
    curves = series(soaked([1.0] * 1000))
    assert len(curves["samples"]["seconds"]) <= 200
    assert curves["events"] == [[1.0, "killed"]]
    width = curves["rate_step_seconds"]
    assert [round(sum(curves[name]) * width) for name in ("completed_per_second", "failed_per_second")] == [2, 1]
    assert len(curves["failed_per_second"]) <= 202


def test_counts_per_second() -> None:
    assert per_second([0.1, 0.2, 1.5, 3.9], 4.0, 2.0) == [1.5, 0.5]


def test_steps_of_a_soak() -> None:
    assert (Plan(24_000).steps, Plan(100).steps) == (8, 1)
    assert not Plan(1).judges_memory
    assert Plan(1, warm_up_seconds=210).judges_memory


def test_lags_of_a_span() -> None:
    noted = np.array([[1.0, 0.001], [2.0, 0.002], [3.0, 0.5]])
    found = lags(noted.tobytes(), {"early": (0.0, 2.5), "never": (9.0, 10.0)})
    assert list(found) == ["early"]
    assert (found["early"].max_ms, found["early"].ticks) == (2.0, 2)


def test_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
    result = Result(
        name="a", machine={}, load=1, repeats=1, figures=[Figure("x", "s", (1.0, 3.0)), Figure("y", "s", (None,))]
    )
    assert (show(result, "x", 1), show(result, "y"), show(result, "z")) == ("2.0 [1.0-3.0]", "-", "-")
