"""The usage that the gateway asked for in the client's name: taken out of the stream by Envoy, and still counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.envoy_config.conftest import USAGE, Chain, sse
from tests.integration.envoy_config.test_chain_usage import CHAT, COUNTS, EVENT_STREAM, engine, finished, read_request

if TYPE_CHECKING:
    from protos.access_log import FinishedExchange

pytestmark = pytest.mark.envoy

USAGE_ONLY = sse({"id": "1", "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"
CUT = b'data: {"choices":[{"delta":{"con'
LONG = sse({"choices": [{"delta": {"content": "x" * 70_000}}]})
SHAPES = {
    "events": [*CHAT, USAGE_ONLY, DONE],
    "usage and end in one": [*CHAT[:3], USAGE_ONLY + DONE],
    "all in one": [b"".join(CHAT[:3]) + USAGE_ONLY + DONE],
    "nothing after it": [*CHAT[:3], USAGE_ONLY],
    "byte by byte": [bytes([byte]) for byte in b"".join(CHAT[:3]) + USAGE_ONLY + DONE],
    "in pieces of 37": [
        (b"".join(CHAT) + USAGE_ONLY + DONE)[i : i + 37] for i in range(0, len(b"".join(CHAT) + USAGE_ONLY + DONE), 37)
    ],
    "no blank line at the end": [*CHAT[:3], USAGE_ONLY, DONE[:-2]],
    "an event that is cut off": [*CHAT[:3], USAGE_ONLY, CUT],
    "long events": [LONG, LONG, LONG[:9_000], LONG[9_000:], USAGE_ONLY + DONE],
}


async def ask(chain: Chain, parts: list[bytes]) -> tuple[bytes, FinishedExchange]:
    async with engine(EVENT_STREAM, parts) as address:
        chain.plugin.target, chain.plugin.added_usage = address, True
        await chain.start(address)
        status, _, body = await chain.chat({"model": "m"})
    assert status == 200
    return body, await finished(chain)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("parts", SHAPES.values(), ids=SHAPES)
async def test_it_is_counted_and_not_seen(chain: Chain, parts: list[bytes], line_end: bytes) -> None:
    body, seen = await ask(chain, [part.replace(b"\n", line_end) for part in parts])
    assert body == b"".join(parts).replace(USAGE_ONLY, b"").replace(b"\n", line_end)
    assert seen.tokens == COUNTS


async def test_a_stream_that_says_its_length(chain: Chain) -> None:
    """As no engine does; the length does not hold any more, and is left out."""
    document = CHAT[0] + USAGE_ONLY + DONE

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {EVENT_STREAM}\r\ncontent-length: {len(document)}\r\n\r\n"
        writer.write(head.encode() + document)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        chain.plugin.target, chain.plugin.added_usage = address, True
        await chain.start(address)
        assert (await chain.chat({"model": "m"}))[2] == CHAT[0] + DONE
    assert (await finished(chain)).tokens == COUNTS


async def test_each_event_goes_on_at_once(chain: Chain) -> None:
    """What is whole is not kept for what follows: the pod waits before its last events."""
    pod = await chain.pod()
    chain.plugin.target, chain.plugin.added_usage = pod.address, True
    await chain.start(pod.address)
    async with chain.client.post("/v1/chat/completions", data=b'{"model": "m", "stream": true}') as answer:
        first = await answer.content.readuntil(b"\n\n")
        pod.go.set()
        rest = await answer.content.read()
    assert (b"one" in first, rest) == (True, sse({"ignored": True}) + DONE)
