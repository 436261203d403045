"""For operators: what came of the scrapes, and what routing sees of each pod.

One collector over the pod table rather than gauges that are set: a pod that is gone leaves no series behind, and what
is unknown (never polled, or too old for routing) has no sample instead of an old one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from routing.pods.pod_table import STALE_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from gateway_plugin.pods.engines.fetch import FetchOutcome
    from routing.pods.pod_table import PodTable
    from routing.spec import PodSpec

_IN_FLIGHT = ("gateway_pod_in_flight_requests", "Requests that this gateway has open on the pod.")
_AGE = ("gateway_pod_metrics_age_seconds", "Time since the engine's metrics were last read.")
_POLLED = {
    "running_requests": ("gateway_pod_running_requests", "Requests running in the engine."),
    "waiting_requests": ("gateway_pod_waiting_requests", "Requests waiting in the engine."),
    "kv_usage_ratio": ("gateway_pod_kv_usage_ratio", "Share of the KV cache in use, 0 to 1."),
}
_LEARNED = {
    "ttft_seconds": ("gateway_pod_ttft_seconds", "Mean time to first token of late, as Envoy saw it."),
    "tpot_seconds": ("gateway_pod_tpot_seconds", "Mean time per output token of late, as Envoy saw it."),
    "prefill_tokens_per_second": ("gateway_pod_prefill_tokens_per_second", "Speed of prefill, as it was learned."),
}
_PART_PODS = 500
"""Gauges of so many take a few milliseconds to write."""


class EngineCollector(Collector):
    """Register it with the registry of the process. Series are bounded by the pods; names of pods must be unique."""

    def __init__(
        self,
        table: PodTable,
        outcomes: Mapping[FetchOutcome, int],
        stale_after_seconds: float = STALE_AFTER_SECONDS,
    ) -> None:
        self._table = table
        self._outcomes = outcomes
        self._stale_after_seconds = stale_after_seconds

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        scrapes = CounterMetricFamily(
            "gateway_engine_scrapes", "Reads of engines' metrics pages, by what came of them.", labels=["outcome"]
        )
        for outcome, count in self._outcomes.items():
            scrapes.add_metric([outcome.value], count)
        yield scrapes
        yield from self._pods()

    def _pods(self) -> Iterator[Metric]:
        columns, now = self._table.columns, self._table.books.clock()
        pods = list(self._table.items())

        def fresh(column: str) -> Callable[[int], float]:
            polled_at, values = columns.polled_at_seconds, getattr(columns, column)
            # Also false for NaN, never polled.
            return lambda row: values[row] if now - polled_at[row] <= self._stale_after_seconds else math.nan

        yield from _parts(_IN_FLIGHT, pods, columns.inflight_requests.__getitem__)
        yield from _parts(_AGE, pods, lambda row: np.maximum(now - columns.polled_at_seconds[row], 0.0))
        for column, texts in _POLLED.items():
            yield from _parts(texts, pods, fresh(column))
        for column, texts in _LEARNED.items():
            yield from _parts(texts, pods, getattr(columns, column).__getitem__)


def _parts(
    texts: tuple[str, str], pods: list[tuple[int, PodSpec]], read: Callable[[int], float]
) -> Iterator[GaugeMetricFamily]:
    """A metric of all pods, in parts that keep nobody waiting while they are written: see `metrics_page`."""
    for start in range(0, max(len(pods), 1), _PART_PODS):
        gauge = GaugeMetricFamily(*texts, labels=["pod"])
        for row, pod in pods[start : start + _PART_PODS]:
            _add(gauge, pod.name, read(row))
        yield gauge


def _add(gauge: GaugeMetricFamily, pod: str, value: float) -> None:
    if not math.isnan(value):
        gauge.add_metric([pod], float(value))
