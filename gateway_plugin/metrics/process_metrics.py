"""What the process says of itself: what it is, how late its event loop is, and what was said to be lost."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway_plugin import plugin_version
from gateway_plugin.metrics.families import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAG_EVERY_SECONDS = 0.25
"""As often as the process wakes anyway."""
_LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)


class BuildInfo(Collector):
    """One series that says which build this is; `replica` joins it with other metrics."""

    def __init__(self, replica: str) -> None:
        self._labels = {"version": plugin_version(), "python": platform.python_version(), "replica": replica}

    def collect(self) -> Iterator[Metric]:
        """Always the same."""
        yield InfoMetricFamily("gateway_build", "Version of the plugin and of Python.", value=self._labels)


class LoopLag(Collector):
    """How late the event loop comes to what is due: whatever holds it makes every request wait as long."""

    def __init__(self, wait: Callable[[float], float] = lambda now: LAG_EVERY_SECONDS) -> None:
        """`wait` says how long to sleep from a time of the loop's clock on: until the process wakes anyway."""
        self._wait = wait
        self._lags = Spread(_LAG_SECONDS)

    async def run(self) -> None:
        """Measures until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            seconds = self._wait(began)
            await asyncio.sleep(seconds)
            self._lags.observe(max(0.0, clock() - began - seconds))

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        name = "gateway_event_loop_lag_seconds"
        metric = Metric(name, "How late the event loop came to what was due, four times a second.", "histogram")
        for suffix, labels, value in self._lags.samples():
            metric.add_sample(name + suffix, labels, value)
        yield metric


class LostEntries(Collector):
    """Requests of whose end Envoy's log never told."""

    def __init__(self, lost: Callable[[], int]) -> None:
        self._lost = lost

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        yield CounterMetricFamily(
            "gateway_access_log_lost",
            "Requests of whose end no log entry told within 15 s; they count as successes, and their estimates stand.",
            value=self._lost(),
        )
