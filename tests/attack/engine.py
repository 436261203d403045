"""Engines that write down everything that reaches them, byte for byte, and answer at once.

No web framework stands between the socket and the record: what a framework refuses, repairs or merges is just what an
attack hides in. Scrapes of the plugin go to another port, so every request on a pod's own port came through Envoy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

MARK = "x-attempt"
"""The header by which the attempts of the suite are told apart."""
MAX_HEAD_BYTES = 1024 * 1024
DEFAULT_OUTPUT_TOKENS = 16
_COMPUTED = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/rerank",
    "/score",
    "/classify",
)
"""Of all else, as of tokenizing, engines compute no tokens and tell of none."""
_MAXIMA = ("max_completion_tokens", "max_output_tokens", "max_tokens")
METRICS_PAGE = b"vllm:num_requests_running 0.0\nvllm:num_requests_waiting 0.0\n"


@dataclass(frozen=True)
class Seen:
    """One request as it left Envoy."""

    model: str
    """Of the pod."""
    pod: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in their order."""
    body: bytes
    ambiguous: str
    """What is wrong with the framing; engines may differ in where such a request ends."""
    trailers: bytes
    prompt_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """What the engine computed for it."""
        return self.prompt_tokens + self.output_tokens

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    def __str__(self) -> str:
        return f"{self.method} {self.target[:80]} at {self.pod}"


@dataclass
class Work:
    """What a body makes an engine do, read as engines written in Python read it: the last of equal keys counts."""

    document: dict[str, Any]
    prompt_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, target: str, body: bytes) -> Work:
        document = _document(body)
        if not body or not target.partition("?")[0].endswith(_COMPUTED):
            return cls(document, 0, 0)
        prompts = _prompts(document)
        choices = max(_number(document.get("n"), 1), _number(document.get("best_of"), 1), 1)
        longest = next((document[key] for key in _MAXIMA if document.get(key)), DEFAULT_OUTPUT_TOKENS)
        output = _number(longest, DEFAULT_OUTPUT_TOKENS) * choices * prompts if "input" not in document else 0
        return cls(document, max(1, len(body) // 4), max(0, min(output, 10**9)))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _prompts(document: dict[str, Any]) -> int:
    prompt = document.get("prompt")
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if several and isinstance(prompt, list) else 1


def _number(value: object, default: int) -> int:
    try:
        return int(value) if isinstance(value, int | float | str) else default
    except (ValueError, OverflowError):
        return default


@dataclass
class Engines:
    """Pods of all models in this process, and the record of what they saw."""

    seen: list[Seen] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers of requests with `"engine": "hold"` wait for it."""
    _servers: list[asyncio.Server] = field(default_factory=list)

    def of(self, mark: str) -> list[Seen]:
        """What an attempt brought here."""
        return [one for one in self.seen if one.values(MARK) == [mark]]

    def unmarked(self) -> list[Seen]:
        """What came from nobody who is known."""
        return [one for one in self.seen if not one.values(MARK)]

    async def start(self, model: str, pod: str, port: int) -> None:
        """A pod; its metrics page is on the port that `metrics_port` tells of."""
        server = await asyncio.start_server(
            lambda reader, writer: self._serve(model, pod, reader, writer), "127.0.0.1", port, limit=MAX_HEAD_BYTES
        )
        self._servers.append(server)

    async def start_metrics(self) -> int:
        """One metrics page for all pods; returns its port."""
        server = await asyncio.start_server(_serve_metrics, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Closes the ports."""
        self.held.set()
        for server in self._servers:
            server.close()

    async def _serve(self, model: str, pod: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._answer_one(model, pod, reader, writer):
                pass
        writer.close()

    async def _answer_one(
        self, model: str, pod: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.rstrip("\r\n").split("\r\n")
        method, _, rest = request_line.partition(" ")
        target = rest.rpartition(" ")[0]
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        body, trailers, ambiguous = await _read_body(headers, reader)
        work = Work.of(target, body)
        self.seen.append(
            Seen(model, pod, method, target, headers, body, ambiguous, trailers, work.prompt_tokens, work.output_tokens)
        )
        if work.document.get("engine") == "hold":
            await self.held.wait()
        if any(name == "upgrade" for name, _ in headers):
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        else:
            packed = any("gzip" in value for name, value in headers if name == "accept-encoding")
            writer.write(_answer(method, pod, body, work, packed=packed))
        await writer.drain()
        return True


async def _read_body(headers: tuple[tuple[str, str], ...], reader: asyncio.StreamReader) -> tuple[bytes, bytes, str]:
    lengths = [value for name, value in headers if name == "content-length"]
    codings = [value for name, value in headers if name == "transfer-encoding"]
    ambiguous = "transfer-encoding beside content-length" if lengths and codings else ""
    if len(lengths) > 1 or len(codings) > 1:
        ambiguous = "framing told twice"
    if codings:
        if codings[0].lower() != "chunked":
            ambiguous = f"transfer-encoding {codings[0]!r}"
        body, trailers = await _read_chunks(reader)
        return body, trailers, ambiguous
    if not lengths:
        return b"", b"", ambiguous
    if not lengths[0].isdecimal():
        return b"", b"", f"content-length {lengths[0]!r}"
    return await reader.readexactly(int(lengths[0])), b"", ambiguous


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    trailers = b""
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        trailers += line
    return b"".join(pieces), trailers


def _answer(method: str, pod: str, body: bytes, work: Work, *, packed: bool) -> bytes:
    usage = {
        "prompt_tokens": work.prompt_tokens,
        "completion_tokens": work.output_tokens,
        "total_tokens": work.prompt_tokens + work.output_tokens,
    }
    reply: dict[str, Any] = {"id": "r", "choices": [{"index": 0, "message": {"role": "assistant"}}], "usage": usage}
    if "say" in work.document:  # a client can make a model say anything
        reply["choices"][0]["message"]["content"] = work.document["say"]
    content_type, text = "application/json", json.dumps(reply)
    if work.document.get("stream"):
        content_type = "text/event-stream"
        options = work.document.get("stream_options")
        told = isinstance(options, dict) and options.get("include_usage")
        last = json.dumps({"choices": [], "usage": usage}) if told else ""
        first = json.dumps({"choices": reply["choices"]})
        text = f"data: {first}\n\n" + (f"data: {last}\n\n" if told else "") + "data: [DONE]\n\n"
    data = b"" if method == "HEAD" else text.encode()
    if packed:  # as engines behind a proxy of their own do, when they are asked to
        data = gzip.compress(data)
    coding = "content-encoding: gzip\r\n" if packed else ""
    head = f"HTTP/1.1 200 OK\r\n{coding}content-type: {content_type}\r\ncontent-length: {len(data)}\r\n"
    head += f"x-engine-pod: {pod}\r\n"
    return (head + f"x-engine-body: {_mark(body)}\r\n\r\n").encode() + data


def _mark(body: bytes) -> str:
    """The `mark` of a body: whose answer this is."""
    return str(_document(body).get("mark", ""))[:64].encode("ascii", "replace").decode()


async def _serve_metrics(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(METRICS_PAGE)}\r\n\r\n"
            writer.write(head.encode() + METRICS_PAGE)
            await writer.drain()
    writer.close()
