"""What every entry adds to the metrics of its model: children that are always there, looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_plugin.metrics.families import Metrics


class ModelMetrics:
    """Of one model, under its label. The others appear with the first response that has something to tell them."""

    __slots__ = ("cached_tokens", "duration", "input_tokens", "output_tokens")

    def __init__(self, metrics: Metrics, label: str) -> None:
        self.duration = metrics.duration.labels(label)
        self.input_tokens = metrics.input_tokens.labels(label)
        self.output_tokens = metrics.output_tokens.labels(label)
        self.cached_tokens = metrics.cached_tokens.labels(label)
