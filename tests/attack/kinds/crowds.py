"""One client who takes what all share: connections, streams, half-sent bodies, event streams. The quick ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from tests.attack import http1
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings
from tests.attack.http1 import request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, chat
from tests.attack.kinds.smuggling import bystanders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KIND = "crowds"

Opening = Callable[[Account], bytes]


@asynccontextmanager
async def _held(port: int, opening: bytes) -> AsyncIterator[None]:
    """A connection that says this, and waits."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(opening)
        await writer.drain()
        yield
    finally:
        writer.close()
        del reader


def _crowd(name: str, connections: int, opening: Opening) -> Attack:
    async def run(arena: Arena) -> Findings:
        account = await arena.account()
        async with AsyncExitStack() as crowd:
            said = http1.marked(opening(account), account.name)
            for _ in range(connections):
                await crowd.enter_async_context(_held(arena.port, said))
            await asyncio.sleep(0.3)
            return await bystanders(arena, 5)

    return Attack(KIND, name, run)


def _half_sent(streams: int) -> Opening:
    def opening(account: Account) -> bytes:
        writer = Writer(account.name)
        pieces = [writer.greeting()]
        for stream in range(1, 2 * streams, 2):
            fields = usual("POST", "/v1/chat/completions", JSON, account.bearer)
            pieces += [writer.headers(stream, fields), writer.data(stream, b'{"model":', end=False)]
        return b"".join(pieces)

    return opening


def _half_headers(_: Account) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nx-a: "


def _half_body(account: Account) -> bytes:
    return request(headers=[JSON, account.bearer, ("content-length", "1000")], body=b'{"model":', length=False)


def _pings(_: Account) -> bytes:
    writer = Writer()
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    return writer.greeting() + ping * 5000


def _settings(_: Account) -> bytes:
    return Writer().greeting() + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 5000


def _continuations(account: Account) -> bytes:
    writer = Writer(account.name)
    head = writer.headers(1, usual("POST", "/v1/chat/completions", JSON, account.bearer), whole=False)
    more = b"\x00\x40\x00\x09\x00\x00\x00\x00\x01" + b"\x00" * 0x4000
    return writer.greeting() + head + more * 50


def _empty_data(account: Account) -> bytes:
    writer = Writer(account.name)
    head = writer.headers(1, usual("POST", "/v1/chat/completions", JSON, account.bearer))
    return writer.greeting() + head + writer.data(1, b"", end=False) * 20_000


def _slow_reader(account: Account) -> bytes:
    whole = request(headers=[JSON, account.bearer], body=chat(say="a" * 1_000_000))
    return whole * 3


def _events(account: Account) -> bytes:
    return request("GET", "/v1/models/events", [account.bearer])


ATTACKS = (
    _crowd("half-sent posts, 10 connections of 1000 streams", 10, _half_sent(1000)),
    _crowd("half-sent posts, 200 connections", 200, _half_body),
    _crowd("half-sent headers, 200 connections", 200, _half_headers),
    _crowd("idle connections, 300", 300, lambda _: b""),
    _crowd("event streams, 600 of one client", 600, _events),
    _crowd("answers that nobody reads, 20 connections", 20, _slow_reader),
    _crowd("pings", 5, _pings),
    _crowd("settings", 5, _settings),
    _crowd("continuations", 5, _continuations),
    _crowd("empty data", 5, _empty_data),
)
