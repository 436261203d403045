"""Settings of the topic `tracing`."""

from __future__ import annotations

from pydantic import Field

from gateway_plugin.settings.topic import Topic


class TracingSettings(Topic):
    """Spans of requests, for a collector of OpenTelemetry; needs the extra `otel`."""

    otlp_endpoint: str = Field(
        "",
        description="the collector's address for OTLP over HTTP, as `http://collector:4318`; empty: nothing is traced,"
        " and nothing is asked about it. `gateway-plugin envoy-config` lets Envoy send its spans there, too",
        pattern=r"^(https?://[A-Za-z0-9._\-\[\]:]+)?$",
    )
    trace_sample_ratio: float = Field(
        0.01,
        description="share of requests that is traced, of those that no other decides about: a `traceparent` that comes"
        " along says whether it is sampled, and Envoy decides for those without",
        ge=0,
        le=1,
    )
