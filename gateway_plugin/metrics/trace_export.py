"""Where spans go: OTLP over HTTP, as JSON, with OpenTelemetry's own SDK and exporter.

JSON, because the exporters that speak protobuf need the package `opentelemetry-proto`, and `xds-protos`, which we need,
brings an older copy of the same files: whichever is installed last wins, and the other one breaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway_plugin import plugin_version
from gateway_plugin.metrics.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

_PATH = "/v1/traces"
"""OTLP's, after the collector's address."""
_EXPORT_SECONDS = 5.0
"""For a collector to answer; what it does not take by then is tried again by the exporter, then dropped."""


def new_tracing(endpoint: str, sample_ratio: float, replica: str) -> Tracing:
    """Spans to the collector at `endpoint`, of what its parent says, and of `sample_ratio` of all that has none."""
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=_EXPORT_SECONDS)
    return tracing_through(batches(exporter), sample_ratio, replica)


def batches(exporter: SpanExporter) -> SpanProcessor:
    """In a thread of its own; 2,048 spans wait at most, and what is more is dropped."""
    return BatchSpanProcessor(exporter, max_queue_size=2048, schedule_delay_millis=1000)


def tracing_through(processor: SpanProcessor, sample_ratio: float, replica: str) -> Tracing:
    """As `new_tracing`, for whoever wants the spans otherwise."""
    resource = Resource.create(
        {"service.name": "gateway-plugin", "service.version": plugin_version(), "service.instance.id": replica}
    )
    sampler = ParentBased(TraceIdRatioBased(sample_ratio))
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return Tracing(provider.get_tracer("gateway_plugin", plugin_version()), provider.shutdown)
