"""The sidecar's own metrics, and the engine's under all names that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway_plugin.runtime.metric_renames import normalised

if TYPE_CHECKING:
    from gateway_plugin.runtime.runtime_settings import RuntimeSettings


class RuntimeMetrics:
    """In a registry of their own: a process may have several sidecars, as tests do."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        registry = self._registry = CollectorRegistry()
        info = Gauge(
            "aibrix:info", "The engine that this sidecar stands beside.", ("engine", "version"), registry=registry
        )
        info.labels(settings.engine, settings.engine_version).set(1)
        labels = ("method", "endpoint", "status")
        self._requests = Counter("aibrix:api_request", "Requests to the sidecar.", labels, registry=registry)
        self._seconds = Histogram(
            "aibrix:api_request_latency", "Seconds of a request to the sidecar.", labels, registry=registry
        )
        self._up = Gauge("aibrix:engine_up", "Whether the engine's page could be read.", registry=registry)

    def answered(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """`endpoint` is a route, never a path that somebody made up."""
        labels = (method if method in ("GET", "POST") else "other", endpoint, str(status))
        self._requests.labels(*labels).inc()
        self._seconds.labels(*labels).observe(seconds)

    def render(self, page: str | None) -> bytes:
        """`page`: the engine's, None when it has none to give."""
        if page is not None and self._settings.raw_metrics:
            return page.encode()
        self._up.set(page is not None)
        if page is not None and self._settings.transform_metrics:
            page = normalised(page, self._settings.engine)
        return (page or "").encode() + generate_latest(self._registry)
