"""HTTP/1.1 by hand: requests that no library would send, and whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.attack.engine import MARK

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Heard:
    """All that came back on a connection."""

    answers: list[Answer] = field(default_factory=list)
    closed: bool = False
    """By the other side."""
    rest: bytes = b""
    """Bytes that are no whole response."""

    @property
    def statuses(self) -> list[int]:
        """Of all final responses."""
        return [answer.status for answer in self.answers]


def request(
    method: str = "POST",
    target: str = "/v1/chat/completions",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    version: str = "HTTP/1.1",
    *,
    host: str = "gateway",
    length: bool = True,
) -> bytes:
    """The bytes of a request; nothing in it is checked."""
    lines = [f"{method} {target} {version}", f"host: {host}"] if host else [f"{method} {target} {version}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body and length:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


def marked(piece: bytes, mark: str) -> bytes:
    """The same with the mark of an attempt in every request, by which engines' records are told apart."""
    return piece.replace(b"\r\nhost:", f"\r\n{MARK}: {mark}\r\nhost:".encode())


async def talk(
    port: int, pieces: Sequence[bytes], *, pause_seconds: float = 0.0, patience_seconds: float, linger_seconds: float
) -> Heard:
    """Sends the pieces on one connection and listens: for the first response, and a while longer for more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    heard = Heard()
    try:
        listening = asyncio.create_task(_listen(reader, received, patience_seconds, linger_seconds))
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_seconds)
        heard.closed = await listening
    finally:
        writer.close()
    heard.answers, heard.rest = parse(bytes(received))
    return heard


async def _listen(reader: asyncio.StreamReader, received: bytearray, patience: float, linger: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    answered = False
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            async with asyncio.timeout_at(deadline):
                data = await reader.read(1 << 16)
            if not data:
                return True
            received += data
            if not answered and parse(bytes(received))[0]:
                answered, deadline = True, loop.time() + linger
    return reader.at_eof() or reader.exception() is not None


def parse(data: bytes) -> tuple[list[Answer], bytes]:
    """Whole responses, and what is left; interim ones are passed over."""
    answers: list[Answer] = []
    while found := _STATUS.match(data):
        end = data.find(b"\r\n\r\n")
        if end < 0:
            break
        lines = data[found.end() : max(end, found.end())].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        status = int(found[1])
        body, rest = _body(status, headers, data[end + 4 :])
        if body is None:
            break
        data = rest
        if status >= 200 or status == 101:
            answers.append(Answer(status, headers, body))
    return answers, data


def _body(status: int, headers: dict[str, str], data: bytes) -> tuple[bytes | None, bytes]:
    if status < 200 or status in (204, 304):
        return b"", data
    if headers.get("transfer-encoding") == "chunked":
        return _unchunked(data)
    length = int(headers.get("content-length", "0"))
    return (data[:length], data[length:]) if len(data) >= length else (None, data)


def _unchunked(data: bytes) -> tuple[bytes | None, bytes]:
    pieces = []
    while True:
        line, mark, data = data.partition(b"\r\n")
        if not mark:
            return None, data
        size = int(line.split(b";")[0], 16)
        if len(data) < size + 2:
            return None, data
        pieces.append(data[:size])
        data = data[size + 2 :]
        if not size:
            return b"".join(pieces), data
