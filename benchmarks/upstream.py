"""`python -m benchmarks.upstream PORT...`: engines that are never the bottleneck.

A chat request is answered at once with 1.2 KB of JSON or, when it says `"stream": true`, with `max_tokens` events of
about 250 bytes, each in a write of its own, `gap_ms` apart; usage is in the last. GET answers a page of engine metrics.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvloop

from benchmarks.procfs import raise_open_files

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP_MS = 4
CHUNKS = 128
PROMPT_TOKENS = 300

_METRICS = b"""vllm:num_requests_running{engine="0",model_name="m"} 0
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


ANSWER = {
    "id": "chatcmpl-" + "a" * 32,
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 160}, "finish_reason": "stop"}],
    "usage": usage(160),
}
JSON = whole("application/json", json.dumps(ANSWER).encode())
PAGE = whole("text/plain", _METRICS)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST, NEXT = HEAD + frame(delta("")), frame(delta(" word"))


class Engine(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._received = b""
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
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"GET"):
            self._received = b""
            self._transport.write(PAGE)
            return
        _, _, rest = head.lower().partition(b"content-length:")
        if len(body) >= int(rest.split(b"\r\n")[0]):
            self._received = b""
            self._answer(json.loads(body))

    def _answer(self, request: dict[str, Any]) -> None:
        if not request.get("stream"):
            self._transport.write(JSON)
            return
        chunks = request.get("max_tokens", CHUNKS)
        self._transport.write(FIRST)
        self._later(1, chunks, request.get("gap_ms", GAP_MS) / 1e3)

    def _later(self, sent: int, chunks: int, gap_seconds: float) -> None:
        self._timer = self._loop.call_later(gap_seconds, self._continue, sent, chunks, gap_seconds)

    def _continue(self, sent: int, chunks: int, gap_seconds: float) -> None:
        if sent < chunks - 1:
            self._transport.write(NEXT)
            self._later(sent + 1, chunks, gap_seconds)
            return
        last = delta("") | {"choices": [], "usage": usage(chunks)}
        self._transport.write(frame(last, b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def serve(ports: Sequence[int]) -> None:
    """Until the process ends."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(partial(Engine, loop), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve([int(port) for port in sys.argv[1:]]))
