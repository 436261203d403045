"""GET over kept HTTP/1.1 connections, for the pages that engines are asked for every second.

A general client takes three times the CPU, and pages are most of what an idle gateway does. The answer is read by
llhttp; redirects are not followed, and nothing is unpacked.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_SECONDS = 15.0
"""An idle connection; whoever is asked every second keeps one, engines that have gone leave nothing behind."""
MAX_KEPT = 4096
"""Idle connections, to all engines together."""
MAX_HEAD_BYTES = 64 * 1024
"""Of an answer's head, and of what frames its chunks."""
_MAX_ASKED = 4096
"""Requests that are kept as bytes."""


class PageTooLarge(Exception):  # noqa: N818 - it says what is wrong
    """More bytes than were wanted."""


class EnginePage(NamedTuple):
    """An answer; of one whose status is not 200 the body is not read."""

    status: int
    body: bytes


class _Asked(NamedTuple):
    host: str
    port: int
    request: bytes


class PageConnections:
    """To any number of engines, as many at once as callers ask for."""

    def __init__(self, max_page_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_page_bytes = max_page_bytes
        self._clock = clock
        self._kept: OrderedDict[_PageConnection, float] = OrderedDict()
        """Idle ones, since when; the oldest first."""
        self._by_place: dict[tuple[str, int], list[_PageConnection]] = {}

    async def get(self, url: str, key: str = "") -> EnginePage:
        """One page. Raises OSError, PageTooLarge, and ValueError for what is no URL; a deadline is the caller's."""
        asked = _request(url, key)
        place = asked.host, asked.port
        kept = self._take(place)
        if kept is not None:
            try:
                return await self._ask(kept, asked)
            except ConnectionError:
                if kept.heard:
                    raise
                # It was closed while it was idle, by chance just now.
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: _PageConnection(place, self._max_page_bytes), *place)
        return await self._ask(made, asked)

    async def _ask(self, connection: _PageConnection, asked: _Asked) -> EnginePage:
        try:
            page = await connection.ask(asked.request)
        except BaseException:
            connection.close()
            raise
        if connection.is_free:
            self._keep(connection)
        else:
            connection.close()
        return page

    def close(self) -> None:
        """Those that are idle."""
        for connection in self._kept:
            connection.close()
        self._kept.clear()
        self._by_place.clear()

    def _take(self, place: tuple[str, int]) -> _PageConnection | None:
        kept = self._by_place.get(place)
        while kept:
            connection = kept[-1]
            self._forget(connection)
            if connection.is_free:
                return connection
        return None

    def _keep(self, connection: _PageConnection) -> None:
        now = self._clock()
        self._kept[connection] = now
        self._by_place.setdefault(connection.place, []).append(connection)
        while len(self._kept) > MAX_KEPT or next(iter(self._kept.values())) < now - KEEP_SECONDS:
            oldest = next(iter(self._kept))
            self._forget(oldest)
            oldest.close()

    def _forget(self, connection: _PageConnection) -> None:
        del self._kept[connection]
        idle = self._by_place[connection.place]
        idle.remove(connection)
        if not idle:
            del self._by_place[connection.place]


class _PageConnection(asyncio.Protocol):
    """One connection, one page at a time."""

    def __init__(self, place: tuple[str, int], max_page_bytes: int) -> None:
        self.place = place
        self.heard = False
        """Whether any byte of the answer has come."""
        self._max_page_bytes = max_page_bytes
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[EnginePage] | None = None
        self._body = bytearray()
        self._left_bytes = 0
        self._is_framed = self._keeps = False

    @property
    def is_free(self) -> bool:
        """Whether another page may be asked for."""
        return self._keeps and self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> asyncio.Future[EnginePage]:
        """The answer, or why there is none."""
        self._answered = asyncio.get_running_loop().create_future()
        self._left_bytes = self._max_page_bytes + MAX_HEAD_BYTES
        self.heard = self._keeps = self._is_framed = False
        self._body = bytearray()
        assert self._transport is not None
        if self._transport.is_closing():
            self._failed(ConnectionResetError("the connection was closed"))
        else:
            self._transport.write(request)
        return self._answered

    def close(self) -> None:
        """Goes away, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = transport  # type: ignore[assignment] # uvloop's own class does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of an answer that says no other; else an error."""
        if self.heard and not self._is_framed and exc is None and self._status >= 200:
            self._finish()
        else:
            self._failed(ConnectionResetError(str(exc or "the connection was closed")))

    def data_received(self, data: bytes) -> None:
        """Reads, within bounds; who speaks unasked is not asked again."""
        if self._answered is None or self._answered.done():
            self._keeps = False
            self.close()
            return
        self.heard = True
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self._failed(PageTooLarge())
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._failed(ConnectionError(f"not HTTP: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """For llhttp."""
        del value
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._is_framed = True

    def on_headers_complete(self) -> None:
        """For llhttp: the body of an error is not waited for."""
        if self._status != 200 and self._status >= 200:
            self._finish()

    def on_body(self, data: bytes) -> None:
        """For llhttp."""
        self._body += data
        if len(self._body) > self._max_page_bytes:
            self._failed(PageTooLarge())

    def on_message_complete(self) -> None:
        """For llhttp; what is said before the answer is none."""
        if self._status >= 200:
            self._keeps = self._status == 200 and self._parser.should_keep_alive()
            self._finish()

    @property
    def _status(self) -> int:
        status: int = self._parser.get_status_code()
        return status

    def _finish(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(EnginePage(self._status, bytes(self._body)))

    def _failed(self, error: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


@lru_cache(_MAX_ASKED)
def _request(url: str, key: str) -> _Asked:
    """Raises ValueError."""
    if not (url + key).isascii() or any(character <= " " for character in url) or not key.isprintable():
        raise ValueError(f"not a URL: {url!r}")
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"not an http URL: {url!r}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Accept: text/plain;version=0.0.4"]
    # The plain text format: OpenMetrics has exemplars behind its values.
    lines += ["Accept-Encoding: identity", "User-Agent: gateway-plugin"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    return _Asked(parts.hostname, parts.port or 80, "\r\n".join([*lines, "", ""]).encode())
