"""Whether a file that is followed was taken over, in the words of Prometheus' own configuration metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric


class Reloads(NamedTuple):
    """Of one file, since the start."""

    outcomes: Mapping[str, int]
    """By outcome: `ok` and `refused`."""
    loaded_at_seconds: float
    """When what holds was read, since 1970."""
    refused: str
    """Why the file as it is now is not taken over."""


class ReloadCollector(Collector):
    """`file` is a word of ours."""

    def __init__(self, file: str, read: Callable[[], Reloads]) -> None:
        self._file = file
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        now = self._read()
        good = GaugeMetricFamily(
            "gateway_config_last_reload_successful", "1 while the file as it is now is in effect.", labels=["file"]
        )
        good.add_metric([self._file], float(not now.refused))
        yield good
        at = GaugeMetricFamily(
            "gateway_config_last_reload_success_timestamp_seconds", "When what holds was read.", labels=["file"]
        )
        at.add_metric([self._file], now.loaded_at_seconds)
        yield at
        counts = CounterMetricFamily("gateway_config_reloads", "Changes of the file.", labels=["file", "outcome"])
        for outcome, count in now.outcomes.items():
            counts.add_metric([self._file, outcome], count)
        yield counts
