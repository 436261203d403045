"""Quantiles of the last minutes, from buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.models.catalogue.usage_windows import (
    BUCKETS,
    OUTPUT,
    PROMPT,
    SLICE_SECONDS,
    SLICES,
    TPOT,
    TTFT,
    LatencyWindows,
    _bucket,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def observe(windows: LatencyWindows, model: str, *ttft_seconds: float) -> None:
    for seconds in ttft_seconds:
        windows.observe(model, ttft_seconds=seconds, tpot_seconds=None, prompt_tokens=0, output_tokens=10)


@given(st.lists(st.floats(2e-4, 500.0), min_size=1, max_size=50), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_off_by_at_most_a_bucket(times: list[float], ratio: float):
    windows = LatencyWindows(Clock())
    observe(windows, "m", *times)
    exact = sorted(times)[max(1, int(np.ceil(len(times) * ratio))) - 1]
    quantiles = windows.quantiles(ratio)
    assert quantiles[0, TTFT, 0] == pytest.approx(exact, rel=0.073)
    assert np.isnan(quantiles[0, TPOT, 0]), "nothing was measured"


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e6])
def test_extremes_fall_into_the_outer_buckets(seconds: float):
    windows = LatencyWindows(Clock())
    observe(windows, "m", seconds)
    assert np.isfinite(windows.quantiles(0.5)[0, TTFT, 0])


def test_what_is_older_than_the_window_is_forgotten():
    clock = Clock()
    windows = LatencyWindows(clock)
    observe(windows, "m", 1.0)
    clock.now = SLICE_SECONDS
    observe(windows, "m", 100.0)
    assert windows.quantiles(0.5)[0, TTFT, 0] == pytest.approx(1.0, rel=0.073)
    clock.now = SLICES * SLICE_SECONDS
    assert windows.quantiles(0.5)[0, TTFT, 0] == pytest.approx(100.0, rel=0.073)
    clock.now = 100 * SLICE_SECONDS
    assert np.isnan(windows.quantiles(0.5)[0, TTFT, 0])


def test_tokens_per_second_are_those_since_the_start_at_first():
    clock = Clock()
    windows = LatencyWindows(clock)
    clock.now = 10.0
    observe(windows, "m", *[0.1] * 20)
    assert windows.tokens_per_second()[0, OUTPUT] == pytest.approx(20.0)
    clock.now = SLICES * SLICE_SECONDS - 1.0
    assert windows.tokens_per_second()[0, OUTPUT] == pytest.approx(200.0 / clock.now)


def test_models_are_bounded_and_the_idle_one_goes():
    windows = LatencyWindows(Clock(), max_models=20)
    for number in range(20):
        observe(windows, f"m{number}", 1.0)
    observe(windows, "m0", 1.0)
    observe(windows, "new", 50.0)
    models = windows.models()
    assert len(models) == 20
    assert "m0" in models
    assert "m1" not in models
    quantiles = windows.quantiles(0.5)
    assert quantiles[models.index("new"), TTFT, 0] == pytest.approx(50.0, rel=0.073), "nothing is left of the old one"


SEEN = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.none() | st.floats(0.0, 1e4),
    st.none() | st.floats(0.0, 1e4),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(0.0, 90.0),
)


@given(st.lists(SEEN, max_size=40))
def test_flat_counting_is_counting_by_row_kind_slice_and_bucket(seen: list[tuple[Any, ...]]):
    clock = Clock()
    windows = LatencyWindows(clock)
    times = np.zeros((3, 2, SLICES, BUCKETS), np.int32)
    tokens = np.zeros((3, 2, SLICES))
    for model, ttft, tpot, prompt, output, pause in seen:
        before, clock.now = int(clock.now / SLICE_SECONDS), clock.now + pause
        current = int(clock.now / SLICE_SECONDS)
        for passed in range(before + 1, current + 1):
            times[:, :, passed % SLICES] = tokens[:, :, passed % SLICES] = 0
        windows.observe(model, ttft_seconds=ttft, tpot_seconds=tpot, prompt_tokens=prompt, output_tokens=output)
        row, at = windows._rows[model], current % SLICES
        for kind, seconds in ((TTFT, ttft), (TPOT, tpot)):
            if seconds is not None:
                times[row, kind, at, _bucket(seconds)] += 1
        tokens[row, PROMPT, at] += prompt
        tokens[row, OUTPUT, at] += output
    np.testing.assert_array_equal(windows._times[:3], times)
    np.testing.assert_array_equal(windows._tokens[:3], tokens)
