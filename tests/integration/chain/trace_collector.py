"""A collector of OpenTelemetry on loopback that keeps what it is sent: Envoy's protobuf, and our JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

# The copy of xds-protos: an early release of the protocol, whose field numbers are still the same.
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass
class Span:
    """What the tests look at; ids as hexadecimal text."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seconds: float = 0.0
    failed: bool = False


class Collector:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw: list[bytes] = []
        """All that came, for whoever looks for what must not be in it."""
        self.port = 0
        self._came = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw.append(body)
        is_json = request.content_type == "application/json"
        self.spans += _of_json(await request.json()) if is_json else _of_protobuf(body)
        self._came.set()
        return web.json_response({})

    async def until(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """Envoy sends its spans every five seconds."""
        async with asyncio.timeout(40):
            while not enough(self.spans):
                self._came.clear()
                await self._came.wait()
        return self.spans


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.port = runner.addresses[0][1]
    try:
        yield collector
    finally:
        await runner.cleanup()


def _of_json(document: dict[str, Any]) -> list[Span]:
    found = []
    for resource in document["resourceSpans"]:
        service = _values(resource["resource"]["attributes"])["service.name"]
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                events = [(one["name"], _values(one.get("attributes", []))) for one in span.get("events", [])]
                seconds = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9
                found.append(
                    Span(service, span["name"], span["traceId"], span["spanId"], span.get("parentSpanId", ""),
                         _values(span.get("attributes", [])), events, seconds,
                         failed=span.get("status", {}).get("code") == 2)
                )  # fmt: skip
    return found


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


def _of_protobuf(body: bytes) -> list[Span]:
    found: list[Span] = []
    protocol: Any = trace_service_pb2
    message = protocol.ExportTraceServiceRequest.FromString(body)
    for resource in message.resource_spans:
        service = next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name")
        for scope in resource.instrumentation_library_spans:
            found += [
                Span(service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                for span in scope.spans
            ]
    return found
