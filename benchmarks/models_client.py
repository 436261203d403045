"""Requests at fixed times over kept-alive connections; each is timed from the moment it was due."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import NamedTuple

import numpy as np

RATE_PER_SECOND = 500
CONNECTIONS = 64
WARM_UP_REQUESTS = 20
TIMEOUT_SECONDS = 10.0
HOST = "127.0.0.1"
_GOOD = (b"200", b"304")


class Measured(NamedTuple):
    """Milliseconds of those that were answered well, KiB of a body, and what went wrong."""

    p50: float
    p99: float
    kib: float
    errors: dict[str, int]
    timeouts: int


class Connections:
    """Kept alive, one request at a time on each."""

    def __init__(self, port: int) -> None:
        self.errors: Counter[str] = Counter()
        self.timeouts = 0
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self) -> None:
        """All of them; new ones each time, because the server closes those that are idle."""
        for _ in range(CONNECTIONS):
            await self._open_one()

    async def ask(self, request: bytes, due: float) -> tuple[float, int] | None:
        """Seconds since it was due, and bytes of the body; None, and counted, when that is not what came."""
        reader, writer = await self._free.get()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, length = await exchange(reader, writer, request)
        except (TimeoutError, OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                self.timeouts += 1
            else:
                self.errors[type(error).__name__] += 1
            writer.close()
            await self._open_one()
            return None
        self._free.put_nowait((reader, writer))
        if status not in _GOOD:
            self.errors[status.decode()] += 1
            return None
        return time.perf_counter() - due, length

    def close(self) -> None:
        """All that are free."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def _open_one(self) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            self._free.put_nowait(await asyncio.open_connection(HOST, self._port, limit=2**20))


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[bytes, int]:
    """Status, and bytes of the body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or b"0")
    await reader.readexactly(length)
    return head[9:12], length


async def measure(port: int, path: str, etag: str, seconds: float) -> Measured:
    """All requests, each at its time."""
    connections = Connections(port)
    await connections.open()
    condition = f"if-none-match: {etag}\r\n" if etag else ""
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\n{condition}\r\n".encode()
    for _ in range(WARM_UP_REQUESTS):
        await connections.ask(request, 0.0)
    began, asked = time.perf_counter() + 0.1, []
    for number in range(int(RATE_PER_SECOND * seconds)):
        due = began + number / RATE_PER_SECOND
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        asked.append(asyncio.create_task(connections.ask(request, due)))
    answers = [answer for answer in await asyncio.gather(*asked) if answer is not None]
    connections.close()
    times = np.array([late for late, _ in answers] or [np.nan]) * 1e3
    kib = answers[-1][1] / 1024 if answers else 0.0
    p50, p99 = (float(value) for value in np.quantile(times, (0.5, 0.99)))
    return Measured(p50, p99, kib, dict(connections.errors), connections.timeouts)
