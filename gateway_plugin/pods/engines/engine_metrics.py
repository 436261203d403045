"""For operators: what came of the scrapes, and what routing sees of each pod.

One collector over the pod table rather than gauges that are set: a pod that is gone leaves no series behind, and what
is unknown (never polled, or too old for routing) has no sample instead of an old one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from routing.pods.pod_table import STALE_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from gateway_plugin.pods.engines.fetch import FetchOutcome
    from routing.pods.pod_table import PodTable

_IN_FLIGHT = ("gateway_pod_in_flight_requests", "Requests that this gateway has open on the pod.")
_AGE = ("gateway_pod_metrics_age_seconds", "Time since the engine's metrics were last read.")
_POLLED = {
    "running_requests": ("gateway_pod_running_requests", "Requests running in the engine."),
    "waiting_requests": ("gateway_pod_waiting_requests", "Requests waiting in the engine."),
    "kv_usage_ratio": ("gateway_pod_kv_usage_ratio", "Share of the KV cache in use, 0 to 1."),
}


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
        in_flight, age = _gauge(_IN_FLIGHT), _gauge(_AGE)
        polled = {column: _gauge(texts) for column, texts in _POLLED.items()}
        for row, pod in self._table.items():
            _add(in_flight, pod.name, columns.inflight_requests[row])
            age_seconds = now - columns.polled_at_seconds[row]
            _add(age, pod.name, age_seconds)
            # Also false for NaN, never polled.
            if age_seconds <= self._stale_after_seconds:
                for column, gauge in polled.items():
                    _add(gauge, pod.name, getattr(columns, column)[row])
        yield from (in_flight, age, *polled.values())


def _gauge(texts: tuple[str, str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(*texts, labels=["pod"])


def _add(gauge: GaugeMetricFamily, pod: str, value: float) -> None:
    if not math.isnan(value):
        gauge.add_metric([pod], float(value))
