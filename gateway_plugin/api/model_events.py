"""`GET /v1/models/events`: what happens to models, as server-sent events, to those who may see them.

    id: evt_1f0c..._17-0        goes back as `Last-Event-ID` after a broken connection: the stream goes on from there
    event: model.status_changed
    data: {"id": ..., "type": ..., "created": ..., "data": {"model": {...}, "previous_status": "ready"}}

`event: reset` means that events were missed: list the models again. A comment comes every 15 s, so that nobody in
between takes the stream for dead. It is not in the OpenAPI document, which cannot describe a stream without an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from gateway_plugin.catalogue.changes import encode_event, events_for
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway_plugin.api.models import GetViewer
    from gateway_plugin.catalogue.access import Viewer
    from gateway_plugin.live.event_ring import EventRing, Numbered

PATH = "/v1/models/events"
MAX_LISTENERS = 500
_SILENCE_SECONDS = 15.0
_RESET = b'event: reset\ndata: {"type":"reset","message":"events were missed; list the models again"}\n\n'


class _Listeners:
    """How many there are."""

    def __init__(self) -> None:
        self.count = 0


def model_events_router(
    events: EventRing, viewer_of: GetViewer, silence_seconds: float = _SILENCE_SECONDS
) -> APIRouter:
    """The stream."""
    router = APIRouter(tags=["models"])
    listeners = _Listeners()

    @router.get(PATH, include_in_schema=False)
    async def stream(request: Request) -> StreamingResponse:
        viewer = await viewer_of(request.headers)
        if listeners.count >= MAX_LISTENERS:
            message = f"{MAX_LISTENERS} clients listen already, try again"
            raise ApiError(503, message, reason="overloaded", headers={"retry-after": "10"})
        place = _place(events, request.headers.get("last-event-id", ""))
        return StreamingResponse(
            _stream(events, viewer, place, silence_seconds, listeners),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return router


def _place(events: EventRing, last_event_id: str) -> int | None:
    """Where to go on; None when events were missed."""
    return events.place_of(last_event_id) if last_event_id else events.newest


async def _stream(
    events: EventRing, viewer: Viewer, place: int | None, silence_seconds: float, listeners: _Listeners
) -> AsyncIterator[bytes]:
    listeners.count += 1
    try:
        # At once, so that clients know that they are connected.
        yield b"retry: 2000\n: connected\n\n"
        while not events.is_closed:
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
        listeners.count -= 1


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
