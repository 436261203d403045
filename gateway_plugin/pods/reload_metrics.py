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
    """`files`: what to read of each, by a word of ours. One collector for all, as a metric is told once."""

    def __init__(self, files: Mapping[str, Callable[[], Reloads]]) -> None:
        self._files = dict(files)

    def follow(self, file: str, read: Callable[[], Reloads]) -> None:
        """One more."""
        self._files[file] = read

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        files = {file: read() for file, read in self._files.items()}
        good = GaugeMetricFamily(
            "gateway_config_last_reload_successful", "1 while the file as it is now is in effect.", labels=["file"]
        )
        for file, now in files.items():
            good.add_metric([file], float(not now.refused))
        yield good
        at = GaugeMetricFamily(
            "gateway_config_last_reload_success_timestamp_seconds", "When what holds was read.", labels=["file"]
        )
        for file, now in files.items():
            at.add_metric([file], now.loaded_at_seconds)
        yield at
        counts = CounterMetricFamily("gateway_config_reloads", "Changes of the file.", labels=["file", "outcome"])
        for file, now in files.items():
            for outcome, count in now.outcomes.items():
                counts.add_metric([file, outcome], count)
        yield counts
