"""Quantiles in which failures are infinite, and what was cut short is not forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench.quantiles import Distribution, Sketch

TIMES = st.lists(st.floats(0, 1e6), max_size=60)
SHARES = st.floats(0.01, 1.0)


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(round(share * len(values), 6)) - 1]


@given(TIMES, st.integers(0, 60), st.integers(1, 100))
def test_failures_are_infinitely_slow(known: list[float], failed: int, percent: int) -> None:
    distribution = Distribution(known, failed)
    values = [*known, *[math.inf] * failed]
    if values:
        assert distribution.quantile(percent / 100) == nearest_rank(values, percent / 100)
    else:
        assert math.isnan(distribution.quantile(percent / 100))


def test_more_than_one_percent_failed() -> None:
    assert Distribution([1.0] * 99, failed=1).quantile(0.99) == 1.0
    assert Distribution([1.0] * 98, failed=2).quantile(0.99) == math.inf


def test_kaplan_and_meier_by_hand() -> None:
    # Of 5, one is answered at 1 (4/5 wait), one leaves, one of 3 is answered at 3 (4/5 * 2/3), one leaves, one is at 5.
    distribution = Distribution([1.0, 3.0, 5.0], censored=[2.0, 4.0])
    assert distribution.shares == pytest.approx([0.2, 1 - 0.8 * 2 / 3, 1.0])
    assert distribution.quantile(0.5) == 5.0


@given(TIMES, st.integers(0, 9), TIMES, SHARES)
def test_leaving_out_what_was_cut_short_would_look_better(
    known: list[float], failed: int, censored: list[float], share: float
) -> None:
    honest = Distribution(known, failed, censored).quantile(share)
    assert math.isnan(honest) or not honest < Distribution(known, failed).quantile(share)


@given(TIMES, st.integers(0, 9), TIMES, SHARES, SHARES)
def test_quantiles_rise(known: list[float], failed: int, censored: list[float], one: float, other: float) -> None:
    distribution = Distribution(known, failed, censored)
    low, high = (distribution.quantile(share) for share in sorted((one, other)))
    assert math.isnan(low) or low <= high


@given(TIMES, st.integers(0, 9), st.integers(2, 20))
def test_curves_are_thin_and_end_where_answers_end(known: list[float], failed: int, points: int) -> None:
    distribution = Distribution(known, failed)
    values, shares = distribution.curve(points)
    assert len(values) == len(shares) <= points + 1
    if known:
        assert values[-1] == max(known)
        assert shares[-1] == pytest.approx(len(known) / (len(known) + failed))


@given(st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=50), st.integers(0, 20), st.integers(1, 100))
def test_the_live_view_is_right_to_two_percent(values: list[float], failed: int, percent: int) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    exact = nearest_rank([*values, *[math.inf] * failed], percent / 100)
    shown = sketch.quantile(percent / 100, failed)
    assert shown == exact if math.isinf(exact) else shown == pytest.approx(exact, rel=0.02)


def test_nothing_is_not_a_number() -> None:
    assert math.isnan(Sketch().quantile(0.5))
    assert math.isinf(Sketch().quantile(0.5, failed=1))
