"""Usage and first output of responses in pieces, as a real Envoy sees them."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from protos.access_log import FinishedExchange, entries_of
from tests.integration.envoy_config.conftest import USAGE, Chain, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.envoy

COUNTS = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "cached_tokens": 8}
RESPONSES = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, "input_tokens_details": {"cached_tokens": 8}}
ANTHROPIC = {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 1}
FAKE = '"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
EVENT_STREAM, JSON = "text/event-stream", "application/json"


def named(document: dict[str, Any]) -> bytes:
    return f"event: {document['type']}\n".encode() + sse(document)


CHAT = [sse({"choices": [{"delta": {"content": f'{i}{FAKE}"'}}], "usage": None}) for i in range(40)]
TAIL = sse({"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"
SHAPES = {
    "chat": (EVENT_STREAM, [*CHAT, TAIL], COUNTS),
    "chat byte by byte": (EVENT_STREAM, [bytes([byte]) for byte in b"".join(CHAT[:3]) + TAIL], COUNTS),
    "chat with crlf": (EVENT_STREAM, [part.replace(b"\n", b"\r\n") for part in [*CHAT, TAIL]], COUNTS),
    "keep-alives": (EVENT_STREAM, [b": ping\n\n", CHAT[0], b": ping\n\n", TAIL, b": ping\n\n"], COUNTS),
    "responses": (
        EVENT_STREAM,
        [
            named({"type": "response.created", "response": {"usage": None}}),
            named({"type": "response.output_text.delta", "delta": FAKE}),
            named({"type": "response.completed", "response": {"output": [{"text": "x" * 6000}], "usage": RESPONSES}}),
        ],
        COUNTS,
    ),
    "messages": (
        EVENT_STREAM,
        [
            named({"type": "message_start", "message": {"usage": ANTHROPIC}}),
            *[named({"type": "content_block_delta", "delta": {"text": FAKE}})] * 60,
            named({"type": "message_delta", "usage": {"output_tokens": 7}}),
            named({"type": "message_stop"}),
        ],
        COUNTS,
    ),
    "json in pieces": (
        JSON,
        [json.dumps({"choices": ["x" * 9000 + FAKE], "usage": USAGE})[i : i + 97].encode() for i in range(0, 9400, 97)],
        COUNTS,
    ),
    "embeddings": (JSON, [json.dumps({"usage": USAGE, "data": [0.125] * 5000}).encode()], COUNTS),
    "an error in the stream": (EVENT_STREAM, [CHAT[0], b'event: error\ndata: {"error": {"code": 500}}\n\n'], {}),
    "gzip all the same": (JSON, [gzip.compress(json.dumps({"usage": USAGE}).encode())], {}),
}


async def read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))


@asynccontextmanager
async def engine(content_type: str, parts: list[bytes], wait_seconds: float = 0.0) -> AsyncIterator[str]:
    """The address of a server that sends its headers at once, and each part in a write of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        fields = f"content-type: {content_type}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + fields.encode())
        await writer.drain()
        await asyncio.sleep(wait_seconds)
        for part in parts:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def engine_of_short_answers(answer: bytes, length: int) -> AsyncIterator[str]:
    """The address of a server that says how long its answers are, and closes when it has sent what it has."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n\r\n".encode() + answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def finished(chain: Chain) -> FinishedExchange:
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.append(await chain.log_entry())
    found = next(entries_of(message.SerializeToString()))
    assert isinstance(found, FinishedExchange)
    return found


async def ask(chain: Chain, part_type: str, parts: list[bytes], wait_seconds: float = 0.0) -> FinishedExchange:
    async with engine(part_type, parts, wait_seconds) as address:
        chain.plugin.target = address
        await chain.start(address)
        status, _, body = await chain.chat({"model": "m", "messages": "x" * 200})
    assert (status, body) == (200, b"".join(parts)), "the body passes unchanged"
    return await finished(chain)


@pytest.mark.parametrize(("content_type", "parts", "counts"), SHAPES.values(), ids=SHAPES)
async def test_usage(chain: Chain, content_type: str, parts: list[bytes], counts: dict[str, int]) -> None:
    assert (await ask(chain, content_type, parts)).tokens == counts


async def test_the_first_output_counts_and_not_the_headers_that_came_before(chain: Chain) -> None:
    parts = [b": ping\n\n", *CHAT[:2], TAIL]
    seen = await ask(chain, EVENT_STREAM, parts, wait_seconds=0.3)
    assert seen.ttft_seconds is not None
    assert 0.29 <= seen.ttft_seconds <= seen.duration_seconds


async def test_a_json_answer_has_no_first_output(chain: Chain) -> None:
    assert (await ask(chain, JSON, [json.dumps({"usage": USAGE}).encode()])).ttft_seconds is None


@pytest.mark.parametrize("hide_pod", [False, True])
async def test_a_short_answer_with_its_length(chain: Chain, hide_pod: bool) -> None:
    document = json.dumps({"usage": USAGE}).encode()
    async with engine_of_short_answers(document, len(document)) as address:
        chain.plugin.target, chain.plugin.hide_pod = address, hide_pod
        await chain.start(address)
        status, headers, body = await chain.chat()
    assert (status, body, headers.get("target-pod-ip")) == (200, document, None if hide_pod else address)
    assert (await finished(chain)).tokens == COUNTS


async def test_a_hidden_pod_that_breaks_a_short_answer_off_stays_hidden(chain: Chain) -> None:
    async with engine_of_short_answers(b'{"usage":', 500) as address:
        chain.plugin.target, chain.plugin.hide_pod = address, True
        await chain.start(address)
        async with chain.client.post("/v1/chat/completions", data=b'{"model": "m"}') as answer:
            assert "target-pod-ip" not in answer.headers
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
    assert (await finished(chain)).tokens == {}
