"""Metrics of the catalogue: models by status, listeners' news, webhooks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway_plugin.models.catalogue.facts import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from gateway_plugin.models.live.live_catalogue import LiveCatalogue


class CatalogueCollector(Collector):
    """Read when somebody asks."""

    def __init__(self, live: LiveCatalogue) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """The catalogue as of now."""
        models = GaugeMetricFamily("gateway_models", "Models in the catalogue.", labels=["status"])
        counts = Counter(entry.facts.status for entry in self._live.snapshot.entries)
        for status in Status:
            models.add_metric([status.value], counts[status])
        yield models
        yield CounterMetricFamily("gateway_model_events", "Changes of models.", value=self._live.events.newest)
        dispatcher = self._live.dispatcher
        if dispatcher is not None:
            webhooks = CounterMetricFamily(
                "gateway_webhook_deliveries", "Attempts and events of webhooks.", labels=["outcome"]
            )
            webhooks.add_metric(["delivered"], dispatcher.delivered_total)
            webhooks.add_metric(["failed_attempt"], dispatcher.failed_attempts_total)
            webhooks.add_metric(["dead"], dispatcher.dead_total)
            yield webhooks
