"""A small HTTP/1.1 client that asks as fast as it is answered: one request at a time on each connection."""

from __future__ import annotations

import asyncio
import time
from typing import cast


class Load:
    """The same POST again and again, on so many connections."""

    def __init__(self, port: int, body_bytes: int, connections: int) -> None:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {body_bytes}\r\n\r\n"
        self.request = head.encode() + b"x" * body_bytes
        self._port = port
        self._connections = connections

    async def run(self, seconds: float) -> list[float]:
        """Latencies in seconds."""
        loop = asyncio.get_running_loop()
        latencies: list[float] = []
        ends_at = time.perf_counter() + seconds
        asking = [Asking(self.request, ends_at, latencies) for _ in range(self._connections)]
        for one in asking:
            await loop.create_connection(lambda one=one: one, "127.0.0.1", self._port)  # type: ignore[misc]
        await asyncio.gather(*(one.done for one in asking))
        return latencies


class Asking(asyncio.Protocol):
    """One connection. Answers are small and without a body, so each is one read."""

    def __init__(self, request: bytes, ends_at: float, latencies: list[float]) -> None:
        self._request = request
        self._ends_at = ends_at
        self._latencies = latencies
        self._asked_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """The answer; asks again."""
        now = time.perf_counter()
        if not data.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(data[:200].decode()))
            return
        self._latencies.append(now - self._asked_at)
        if now < self._ends_at:
            self._ask()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Finished."""
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        assert self._transport is not None
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)
