"""One name for what engines, their versions and autoscalers call differently.

A name that is none of these means the series of exactly that name on the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fold(Enum):
    """What becomes of several series of one pod, such as those of data-parallel ranks."""

    SUM = "sum"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class PodMetric:
    """A metric of pods: its series by engine, those of newer versions first."""

    name: str
    fold: Fold
    ratio: bool
    """From 0 to 1."""
    series: dict[str, tuple[str, ...]]
    other_names: tuple[str, ...] = ()

    def series_of(self, engine: str) -> tuple[str, ...]:
        """To be looked for in this order; engines that are not known are looked at as all others are."""
        if engine in self.series:
            return self.series[engine]
        return tuple(dict.fromkeys(name for names in self.series.values() for name in names))


METRICS = (
    PodMetric(
        "kv_cache_usage",
        Fold.MEAN,
        ratio=True,
        series={
            "vllm": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
            "sglang": ("sglang:token_usage",),
            "trtllm": ("trtllm_kv_cache_utilization", "kv_cache_utilization"),
            "xllm": ("kv_cache_utilization",),
        },
        other_names=("gpu_cache_usage_perc", "kv_cache_usage_perc", "token_usage", "kv_cache_utilization"),
    ),
    PodMetric(
        "running",
        Fold.SUM,
        ratio=False,
        series={"vllm": ("vllm:num_requests_running",), "sglang": ("sglang:num_running_reqs",)},
        other_names=("num_requests_running", "num_running_reqs"),
    ),
    PodMetric(
        "waiting",
        Fold.SUM,
        ratio=False,
        series={"vllm": ("vllm:num_requests_waiting",), "sglang": ("sglang:num_queue_reqs",)},
        other_names=("num_requests_waiting", "queue_size", "num_queue_reqs"),
    ),
    PodMetric(
        "engine_utilization",
        Fold.MEAN,
        ratio=True,
        series={"xllm": ("engine_utilization",)},
        other_names=("gpu_busy_time_ratio",),
    ),
)


def _spellings(metric: PodMetric) -> set[str]:
    series = {name for names in metric.series.values() for name in names}
    return {metric.name, *metric.other_names, *series}


_BY_NAME = {spelling: metric for metric in METRICS for spelling in _spellings(metric)}


def metric_named(name: str) -> PodMetric | None:
    """What a `targetMetric` means, or None when it can only be the series of that very name."""
    return _BY_NAME.get(name)
