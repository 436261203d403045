"""What every entry adds to the metrics of its model: children that are always there, looked up once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_plugin.metrics.families import Count, Metrics, Spread


class ModelMetrics:
    """Of one model, under its label. Some appear with the first response that has something to tell them."""

    def __init__(self, metrics: Metrics, label: str) -> None:
        self._metrics = metrics
        self._label = label
        self.duration = metrics.duration.labels(label)
        self.input_tokens = metrics.input_tokens.labels(label)
        self.output_tokens = metrics.output_tokens.labels(label)
        self.cached_tokens = metrics.cached_tokens.labels(label)
        self._successes: dict[int, Count] = {}
        """By status: below 400."""

    @cached_property
    def ttft(self) -> Spread:
        """Times to the first token."""
        return self._metrics.ttft.labels(self._label)

    @cached_property
    def tpot(self) -> Spread:
        """Times per output token."""
        return self._metrics.tpot.labels(self._label)

    def success(self, status: int) -> Count:
        """Of responses with this status."""
        count = self._successes.get(status)
        if count is None:
            count = self._successes[status] = self._metrics.successes.labels(self._label, str(status))
        return count
