"""What `targetMetric` and `targetValue` mean."""

from __future__ import annotations

import pytest

from orchestration.scaling.metric_aliases import METRICS, Fold, metric_named
from orchestration.scaling.target_value import TargetValue, target_of

USAGE = metric_named("gpu_cache_usage_perc")


@pytest.mark.parametrize("name", ["kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "token_usage", "kv_cache_usage"])
def test_one_metric_by_many_names(name: str):
    assert metric_named(name) is USAGE


def test_no_name_means_two_metrics():
    names = [name for metric in METRICS for name in {metric.name, *metric.other_names}]
    assert len(names) == len(set(names))


def test_newer_series_first_and_every_engines_for_one_that_is_not_known():
    assert USAGE is not None
    assert USAGE.series_of("vllm") == ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    assert {"vllm:kv_cache_usage_perc", "sglang:token_usage"} <= set(USAGE.series_of("unheard-of"))
    assert USAGE.fold is Fold.MEAN


@pytest.mark.parametrize(
    ("text", "unit", "target"),
    [
        ("0.5", None, TargetValue(0.5)),
        ("50", None, TargetValue(0.5, read_as_percent=True)),
        ("1", None, TargetValue(1.0)),
        ("1", "percent", TargetValue(0.01)),
        ("50", "raw", TargetValue(50.0)),
    ],
)
def test_a_half_is_a_half(text: str, unit: str | None, target: TargetValue):
    assert target_of(text, USAGE, unit) == target


def test_counts_and_unknown_series_are_never_converted():
    assert target_of("50", metric_named("num_requests_waiting")) == TargetValue(50.0)
    assert target_of("50", metric_named("my:series")) == TargetValue(50.0)


@pytest.mark.parametrize("text", ["", "half", "0", "-1", "nan", "inf", "101"])
def test_what_cannot_be_meant(text: str):
    with pytest.raises(ValueError, match="targetValue"):
        target_of(text, USAGE)
