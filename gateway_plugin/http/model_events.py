"""`GET /v1/models/events`: what happens to models, as server-sent events, to those who may see them.

    id: evt_1f0c..._17-0        goes back as `Last-Event-ID` after a broken connection: the stream goes on from there
    event: model.status_changed
    data: {"id": ..., "type": ..., "created": ..., "data": {"model": {...}, "previous_status": "ready"}}

`event: reset` means that events were missed: list the models again. A comment comes every 15 s, so that nobody in
between takes the stream for dead, and after an hour the stream ends: come back. It is not in the OpenAPI document,
which cannot describe such a stream.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from gateway_plugin.exchange.intent.identity import source_of
from gateway_plugin.exchange.intent.rejections import too_many_listeners
from gateway_plugin.models.catalogue.changes import encode_event, events_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

    from gateway_plugin.http.event_listeners import ListenerPlace as Seat
    from gateway_plugin.http.event_listeners import Listeners
    from gateway_plugin.http.models import GetViewer
    from gateway_plugin.models.catalogue.access import Viewer
    from gateway_plugin.models.live.event_ring import EventRing, Numbered

PATH = "/v1/models/events"
LONGEST_SECONDS = 3600.0
"""Then a stream ends; its client comes back with `Last-Event-ID` and misses nothing."""
_CUT_OFF_SECONDS = 30.0
"""After a stream's longest time, for what it still sends; then its connection goes."""
_SILENCE_SECONDS = 15.0
"""Between two signs of life; proxies end what is silent for 30 or 60 s."""
_RESET = b'event: reset\ndata: {"type":"reset","message":"events were missed; list the models again"}\n\n'


def model_events_router(
    events: EventRing,
    viewer_of: GetViewer,
    listeners: Listeners,
    trusted_hops: int = 0,
    silence_seconds: float = _SILENCE_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> APIRouter:
    """The stream."""
    router = APIRouter(tags=["models"])

    @router.get(PATH, include_in_schema=False)
    async def stream(request: Request) -> StreamingResponse:
        viewer = await viewer_of(request.headers)
        seat = listeners.enter(viewer.user, _source(request, trusted_hops))
        if isinstance(seat, str):
            raise too_many_listeners(seat)
        place = _place(events, request.headers.get("last-event-id", ""))
        content = _stream(events, viewer, place, silence_seconds, longest_seconds, seat)
        return EventStream(content, seat, longest_seconds)

    return router


class EventStream(StreamingResponse):
    """Is cut off when it does not end by itself in time: whoever reads nothing would stay for ever."""

    def __init__(self, content: AsyncIterator[bytes], seat: Seat, longest_seconds: float) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._seat = seat
        self._longest_seconds = longest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what there is until somebody has enough."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._longest_seconds + _CUT_OFF_SECONDS):
                    await super().__call__(scope, receive, send)
        finally:
            self._seat.leave()


def _source(request: Request, trusted_hops: int) -> str:
    """The address that Envoy saw, or, of who asks this port directly, its own."""
    forwarded = request.headers.get("x-forwarded-for", "")
    return source_of(forwarded or (request.client.host if request.client else ""), trusted_hops)


def _place(events: EventRing, last_event_id: str) -> int | None:
    """Where to go on; None when events were missed."""
    return events.place_of(last_event_id) if last_event_id else events.newest


async def _stream(
    events: EventRing, viewer: Viewer, place: int | None, silence_seconds: float, longest_seconds: float, seat: Seat
) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    end_seconds = now() + longest_seconds
    try:
        # At once, so that clients know that they are connected.
        yield b"retry: 2000\n: connected\n\n"
        while not events.is_closed and now() < end_seconds:
            news = events.since(place) if place is not None else None
            if news is None:
                place = events.newest
                yield _RESET
            elif news:
                place = news[-1].number
                for chunk in _chunks(news, viewer):
                    yield chunk
            else:
                await events.wait(place or 0, silence_seconds)
                if events.newest == place:
                    yield b": still here\n\n"
    finally:
        seat.leave()


def _chunks(news: list[Numbered], viewer: Viewer) -> Iterator[bytes]:
    for one in news:
        for event in events_for(one.change, viewer, one.id, one.at_seconds):
            yield b"".join(
                (
                    b"id: ",
                    event.id.encode(),
                    b"\nevent: ",
                    event.type.encode(),
                    b"\ndata: ",
                    encode_event(event),
                    b"\n\n",
                )
            )
