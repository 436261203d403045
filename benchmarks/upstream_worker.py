"""`python -m benchmarks.upstream_worker PORT... [--page FILE]`: engines that are never the bottleneck.

A chat request is answered at once with 1.2 KB of JSON or, when it says `"stream": true`, with `max_tokens` events of
about 250 bytes, each in a write of its own, `gap_ms` apart; usage is in the last. GET answers a page of engine metrics.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvloop

from benchmarks.procfs import raise_open_files

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP_MS = 4
CHUNKS = 128
PROMPT_TOKENS = 300

PAGE = b"""vllm:num_requests_running{engine="0",model_name="m"} 0
vllm:num_requests_waiting{engine="0",model_name="m"} 0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.1
"""


def whole(content_type: str, body: bytes) -> bytes:
    """A response with its length."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def usage(completion: int) -> dict[str, Any]:
    """What the engine counts."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": 128},
    }


def frame(document: object, more: bytes = b"") -> bytes:
    """One event as one HTTP chunk."""
    event = b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n" + more
    return b"%x\r\n%b\r\n" % (len(event), event)


def delta(text: str) -> dict[str, Any]:
    """As vLLM writes a chunk."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None, "token_ids": None}
    return {
        "id": "chatcmpl-" + "a" * 32,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }


# A search, because reading 512 KB of JSON would take longer than Envoy does. Text of prompts has its quotes escaped.
_STREAM = re.compile(rb'"stream":\s*(true|false)')
_MAX_TOKENS, _GAP_MS = re.compile(rb'"max_tokens":\s*(\d+)'), re.compile(rb'"gap_ms":\s*(\d+)')


def number_of(pattern: re.Pattern[bytes], body: bytes, otherwise: int) -> int:
    """The number that the request gives; peers may leave out what they do not know."""
    found = pattern.search(body)
    return int(found[1]) if found else otherwise


ANSWER = {
    "id": "chatcmpl-" + "a" * 32,
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 160}, "finish_reason": "stop"}],
    "usage": usage(160),
}
JSON = whole("application/json", json.dumps(ANSWER).encode())
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST, NEXT = HEAD + frame(delta("")), frame(delta(" word"))


_LAST_CHUNK = b"0\r\n\r\n"


class Engine(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, page: bytes) -> None:
        self._loop = loop
        self._page = page
        self._received = bytearray()
        self._missing = 0
        """Bytes of the body whose head has come."""
        self._is_chunked = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops a stream that nobody reads."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answers once the request is whole."""
        self._received += data
        if not self._missing and not self._is_chunked:
            self._read_head()
        if self._is_chunked and self._received.endswith(_LAST_CHUNK):
            body, self._is_chunked = bytes(self._received), False
            self._received.clear()
            self._answer(body)
        if 0 < self._missing <= len(self._received):
            body = bytes(self._received)
            self._received.clear()
            self._missing = 0
            self._answer(body)

    def _read_head(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        del self._received[: end + 4]
        if head.startswith(b"get"):
            self._transport.write(self._page)
            return
        _, _, rest = head.partition(b"content-length:")
        if not rest:
            # Gateways that stream bodies do not tell their length.
            self._is_chunked = True
            return
        self._missing = int(rest.split(b"\r\n")[0])

    def _answer(self, body: bytes) -> None:
        stream = _STREAM.search(body)
        if stream is None or stream[1] == b"false":
            self._transport.write(JSON)
            return
        chunks, gap_ms = number_of(_MAX_TOKENS, body, CHUNKS), number_of(_GAP_MS, body, GAP_MS)
        self._transport.write(FIRST)
        self._later(1, chunks, gap_ms / 1e3)

    def _later(self, sent: int, chunks: int, gap_seconds: float) -> None:
        self._timer = self._loop.call_later(gap_seconds, self._continue, sent, chunks, gap_seconds)

    def _continue(self, sent: int, chunks: int, gap_seconds: float) -> None:
        if sent < chunks - 1:
            self._transport.write(NEXT)
            self._later(sent + 1, chunks, gap_seconds)
            return
        last = delta("") | {"choices": [], "usage": usage(chunks)}
        self._transport.write(frame(last, b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def serve(ports: Sequence[int], page: bytes) -> None:
    """Until the process ends."""
    loop = asyncio.get_running_loop()
    answer = whole("text/plain", page)
    for port in ports:
        await loop.create_server(partial(Engine, loop, answer), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream_worker")
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--page", type=Path, help="a file with the page of engine metrics that GET answers")
    arguments = parser.parse_args()
    raise_open_files()
    page = arguments.page.read_bytes() if arguments.page else PAGE
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.ports, page))


if __name__ == "__main__":
    main()
