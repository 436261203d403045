"""`/debug/live`: the snapshot once, as events, and the last hour; see `live_shape`.

A snapshot is made once a second for all viewers together, and none while nobody looks. Points of the history are taken
all the time, one in ten seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request, Response

from gateway_plugin.exchange.intent.rejections import too_many_listeners
from gateway_plugin.http.live_shape import MAX_POINTS, PERIOD_SECONDS, POINT_SECONDS, Point
from gateway_plugin.http.model_events import LONGEST_SECONDS, EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi.responses import StreamingResponse

    from gateway_plugin.http.event_listeners import Listeners
    from gateway_plugin.http.live_snapshot import SnapshotMaker

_JSON = "application/json"


class LiveFeed:
    """`run` takes points, and makes snapshots while somebody follows."""

    def __init__(
        self, maker: SnapshotMaker, listeners: Listeners, pace: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """`pace` sleeps about so many seconds."""
        self._pace = pace
        self.maker = maker
        self.listeners = listeners
        self.points: deque[Point] = deque(maxlen=MAX_POINTS)
        self.is_closed = False
        self._newest = b""
        self._made_seconds = -math.inf
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_points())
            group.create_task(self._tell())

    async def follow(self, longest_seconds: float = LONGEST_SECONDS) -> AsyncIterator[bytes]:
        """Events, the first at once."""
        loop = asyncio.get_running_loop()
        end_seconds = loop.time() + longest_seconds
        yield b"retry: 2000\n\n" + self.event()
        while not self.is_closed and loop.time() < end_seconds:
            await self._news.wait()
            yield self._newest

    def close(self) -> None:
        """Sends all viewers home."""
        self.is_closed = True
        self._news.set()

    def event(self) -> bytes:
        """The present, not older than a period: many may come at once."""
        now = asyncio.get_running_loop().time()
        if now - self._made_seconds >= PERIOD_SECONDS / 2:
            self._made_seconds = now
            self._newest = b"event: snapshot\ndata: " + msgspec.json.encode(self.maker.snapshot()) + b"\n\n"
        return self._newest

    async def _tell(self) -> None:
        while True:
            await self._pace(PERIOD_SECONDS)
            if len(self.listeners):
                self.event()
                news, self._news = self._news, asyncio.Event()
                news.set()

    async def _take_points(self) -> None:
        while True:
            self.points.append(self.maker.point())
            await self._pace(POINT_SECONDS)


def live_router(feed: LiveFeed) -> APIRouter:
    """The three."""
    router = APIRouter(tags=["operations"])

    @router.get("/debug/live", include_in_schema=False)
    async def now() -> Response:
        return Response(msgspec.json.encode(feed.maker.snapshot()), media_type=_JSON)

    @router.get("/debug/live/history", include_in_schema=False)
    async def history() -> Response:
        return Response(msgspec.json.encode(list(feed.points)), media_type=_JSON)

    @router.get("/debug/live/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        seat = feed.listeners.enter("", request.client.host if request.client else "")
        if isinstance(seat, str):
            raise too_many_listeners(seat)
        return EventStream(feed.follow(), seat, LONGEST_SECONDS)

    return router
