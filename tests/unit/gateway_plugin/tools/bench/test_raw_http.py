"""Connections that are kept, or not, and responses of every form."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway_plugin.tools.bench.raw_http import CONNECTION_LOST, NOT_HTTP, Connections, request_bytes

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def answering(
    answer: bytes, *, ends: bool = False
) -> AsyncIterator[tuple[Connections, list[asyncio.StreamWriter]]]:
    """A server that answers every request with the same bytes; its connections so far."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                if ends:
                    writer.close()
                    return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield connections, writers
    finally:
        connections.close()
        server.close()
        for writer in writers:
            writer.transport.abort()


async def ask(connections: Connections) -> tuple[str, int, bytes]:
    """What went wrong, status, body."""
    body = bytearray()
    connection = await connections.take()
    trouble = await connection.ask(request_bytes("GET", "http://host/", {}), body.extend)
    connections.give_back(connection)
    return trouble, connection.status, bytes(body)


@pytest.mark.parametrize(
    ("answer", "connections"), [(OK, 1), (OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), 3)]
)
async def test_a_connection_serves_many_requests_until_the_server_says_otherwise(answer: bytes, connections: int):
    async with answering(answer) as (client, writers):
        assert [await ask(client) for _ in range(3)] == [("", 200, b"ok")] * 3
        assert len(writers) == connections


async def test_one_that_the_server_closed_meanwhile_is_not_used_again():
    async with answering(OK) as (client, writers):
        await ask(client)
        writers[0].transport.abort()
        await asyncio.sleep(0.05)
        assert await ask(client) == ("", 200, b"ok")
        assert len(writers) == 2


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", ("", 200, b"until the end")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", (CONNECTION_LOST, 200, b"half")),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", (CONNECTION_LOST, 200, b"half")),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, ("", 200, b"ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ("", 204, b"")),
        (b"SSH-2.0-OpenSSH\r\n", (NOT_HTTP, 0, b"")),
        (b"", (CONNECTION_LOST, 0, b"")),
    ],
)
async def test_ends_of_responses(answer: bytes, seen: tuple[str, int, bytes]):
    async with answering(answer, ends=True) as (client, _):
        assert await ask(client) == seen
