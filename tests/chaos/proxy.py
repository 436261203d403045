"""A TCP proxy between two of the parts that can be slow, silent (a partition), or reset whoever connects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Self

_CHUNK_BYTES = 65536
_SLOW_SECONDS = 0.2
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """From a free port of its own to `port`."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._mode = ""
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.become("reset")
        assert self._server is not None
        self._server.close()

    def become(self, mode: str) -> None:
        """ "slow", "silent", "reset", or empty: as if it were not there."""
        self._mode = mode
        if mode == "silent":
            self._passes.clear()
        else:
            self._passes.set()
        if mode == "reset":
            for writer in list(self._writers):
                _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._mode == "reset":
                _reset(writer)
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        except OSError:
            _reset(writer)
        finally:
            self._writers.discard(writer)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                await self._passes.wait()
                if self._mode == "slow":
                    await asyncio.sleep(_SLOW_SECONDS)
                sink.write(chunk)
                await sink.drain()
        sink.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    plain = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    transport.abort()
