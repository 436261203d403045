"""The same times under OpenTelemetry's names for generative AI servers, for dashboards that are written for those.

    gen_ai_server_request_duration_seconds, gen_ai_server_time_to_first_token_seconds,
    gen_ai_server_time_per_output_token_seconds         label gen_ai_request_model

They double what these histograms take on the page, so the operator asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from gateway_plugin.metrics.families import Family, Metrics, Spread


class GenAiCollector(Collector):
    """Reads the families of `metrics`; keeps nothing."""

    def __init__(self, metrics: Metrics) -> None:
        self._families: dict[str, Family[Spread]] = {
            "gen_ai_server_request_duration_seconds": metrics.duration,
            "gen_ai_server_time_to_first_token_seconds": metrics.ttft,
            "gen_ai_server_time_per_output_token_seconds": metrics.tpot,
        }

    @property
    def label_names(self) -> tuple[str, ...]:
        """In order."""
        return ("gen_ai_request_model",)

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        for name, family in self._families.items():
            yield from family.collect_as(name, {"model": "gen_ai_request_model"})
