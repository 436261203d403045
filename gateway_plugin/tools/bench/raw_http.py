"""HTTP/1.1 as a load generator speaks it: kept connections, one exchange at a time, the moment of each read.

A general client's CPU would, on a shared machine, be time that what is measured does not get. The response is read by
llhttp; what its body says is for the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import ssl
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECTION_LOST, NOT_HTTP = "connection lost", "not HTTP"
KEEP_ALIVE_SECONDS = 4.0
"""Below the 5 s after which uvicorn, and so vLLM, closes idle connections: a request must not meet that."""


class Connection(asyncio.Protocol):
    """One connection; `ask` resolves when the response is whole, or with what went wrong."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._body: Callable[[bytes], None] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._keeps = False
        self.status = 0
        self.reason = ""
        self.first_seconds = 0.0
        """When the first bytes of the response came; times are of the caller's clock."""
        self.read_seconds = 0.0
        """When the latest did."""

    def ask(self, request: bytes, body: Callable[[bytes], None] | None = None) -> asyncio.Future[str]:
        """Empty for a whole response, whatever its status; `body` is called with each piece."""
        self._answered = asyncio.get_running_loop().create_future()
        self._body = body
        self.status, self.reason, self.first_seconds = 0, "", 0.0
        self._keeps = False
        self._headers.clear()
        if self._transport.is_closing():
            self._finish(CONNECTION_LOST)
        else:
            self._transport.write(request)
        return self._answered

    def header(self, name: bytes) -> str:
        """Of the response; its name in lower case; empty without."""
        return next((value.decode("latin-1") for key, value in self._headers if key.lower() == name), "")

    def close(self) -> None:
        """Goes away, whatever is under way."""
        self._transport.abort()

    @property
    def is_free(self) -> bool:
        """Whether another request may be sent."""
        return self._keeps and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not say so

    def data_received(self, data: bytes) -> None:
        """Notes the time, then reads."""
        self.read_seconds = self._clock()
        if not self.first_seconds:
            self.first_seconds = self.read_seconds
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish(NOT_HTTP if not self.status else CONNECTION_LOST)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Before the end of a response this is an error, but for one whose end it is."""
        framed = self.header(b"content-length") or self.header(b"transfer-encoding")
        self._finish("" if self.status >= 200 and exc is None and not framed else CONNECTION_LOST)

    def on_status(self, reason: bytes) -> None:
        """For llhttp."""
        self.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """For llhttp."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """For llhttp."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """For llhttp."""
        if self._body is not None:
            self._body(data)

    def on_message_complete(self) -> None:
        """For llhttp; what is said before the response is none."""
        if self.status >= 200:
            self._keeps = self._parser.should_keep_alive()
            self._finish("")
        else:
            self._headers.clear()

    def _finish(self, trouble: str) -> None:
        if not self._answered.done():
            self._answered.set_result(trouble)


class Connections:
    """To one server; as many as are asked for at once, else requests would wait for each other."""

    def __init__(self, base_url: str, clock: Callable[[], float] = time.perf_counter) -> None:
        parts = urlsplit(base_url)
        tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if tls else 80)
        self._tls = ssl.create_default_context() if tls else None
        self._clock = clock
        self._idle: list[tuple[Connection, float]] = []

    async def take(self) -> Connection:
        """One that is kept, else a new one; raises OSError."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_free and self._clock() - since < KEEP_ALIVE_SECONDS:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Connection(self._clock), self._host, self._port, ssl=self._tls)
        return made

    def give_back(self, connection: Connection) -> None:
        """To be kept if it may be used again."""
        if connection.is_free:
            self._idle.append((connection, self._clock()))
        else:
            connection.close()

    def close(self) -> None:
        """Those that are kept."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()


def request_bytes(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request, ready to be written."""
    parts = urlsplit(url)
    own = {
        "host": parts.netloc,
        "accept": "*/*",
        "user-agent": "gateway-plugin-bench",
        "content-length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in (own | dict(headers)).items())
    return f"{method} {parts.path or '/'} HTTP/1.1\r\n{lines}\r\n".encode() + body


def why_not_connected(error: OSError) -> str:
    """For people."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return error.strerror or str(error) or type(error).__name__


def raise_open_files() -> None:
    """As many connections as the system gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
