"""The engine that costs little, and how it takes bodies."""

from __future__ import annotations

import asyncio

from benchmarks.upstream_worker import Engine

BODY = b'{"model": "m", "stream": false}'


class Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def answered(*pieces: bytes) -> int:
    engine, transport = Engine(asyncio.get_running_loop(), b"page"), Transport()
    engine.connection_made(transport)  # type: ignore[arg-type]
    for piece in pieces:
        engine.data_received(piece)
    return transport.written.count(b"HTTP/1.1 200 OK")


async def test_bodies_with_and_without_their_length():
    whole = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY)
    assert await answered(whole) == 1
    assert await answered(chunked) == 0
    assert await answered(chunked, b"0\r\n\r\n") == 1
    assert await answered(chunked[:50], chunked[50:], b"0\r\n\r\n", whole, chunked + b"0\r\n\r\n") == 3
