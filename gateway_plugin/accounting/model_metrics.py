"""A model's metrics in one place, so that an entry looks its model up once; sums of a batch are told at its end.

A counter says the same whether it grows by three numbers or by their sum, and costs a lock each time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_plugin.metrics import Metrics


class ModelMetrics:
    """Of one model, under its label; `tell` brings the counters up to date."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self.retries = 0
        self.successes: Counter[int] = Counter()
        """By status, as are the failures."""
        self.failures: Counter[int] = Counter()
        self.observe_duration = metrics.duration.labels(model).observe
        self._model = model
        self._metrics = metrics
        self._input = metrics.input_tokens.labels(model)
        self._output = metrics.output_tokens.labels(model)
        self._cached = metrics.cached_tokens.labels(model)

    def observe_ttft(self, seconds: float) -> None:
        """Exposed from the first one on."""
        self._metrics.ttft.labels(self._model).observe(seconds)

    def observe_tpot(self, seconds: float) -> None:
        """Exposed from the first one on."""
        self._metrics.tpot.labels(self._model).observe(seconds)

    def tell(self) -> None:
        """What was counted since the last time."""
        self._input.inc(self.prompt_tokens)
        self._output.inc(self.output_tokens)
        self._cached.inc(self.cached_tokens)
        self.prompt_tokens = self.output_tokens = self.cached_tokens = 0
        for counts, counter in ((self.successes, self._metrics.successes), (self.failures, self._metrics.failures)):
            for status, count in counts.items():
                counter.labels(self._model, str(status)).inc(count)
            counts.clear()
        if self.retries:
            self._metrics.retries.labels(self._model).inc(self.retries)
            self.retries = 0
