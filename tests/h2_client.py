"""A small HTTP/2 client that may do what libraries do not let one do: begin requests and never end them, reset
them, read nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import hpack

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.frames import END_HEADERS, END_STREAM, FRAME_HEADER, HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHAT = "/v1/chat/completions"


@dataclass
class Answer:
    """What came of one request so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset_code: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class H2Client:
    """One connection. Windows are given back unless `reads` is false."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._reads = reads
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._next_id = 1
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.closed = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, source: str = "", *, window: int = 2**20, reads: bool = True) -> Self:
        """A connection on which nothing is asked yet, from an address of loopback; `window` is that of each answer."""
        local = (source, 0) if source else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
        client = cls(reader, writer, reads=reads)
        writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: window}))
        await writer.drain()
        return client

    def begin(
        self, path: str = CHAT, headers: Mapping[str, str] | None = None, *, method: str = "POST", end: bool = False
    ) -> int:
        """Sends the headers of a request; returns its stream."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "gateway")]
        fields += [("content-type", "application/json"), *(headers or {}).items()]
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.answers[stream_id] = Answer()
        self._writer.write(frames.frame(frames.HEADERS, flags, stream_id, self._encoder.encode(fields)))
        return stream_id

    def send(self, stream_id: int, content: bytes, *, end: bool = False) -> None:
        """DATA in one frame, whatever the windows say: keep it short."""
        self._writer.write(frames.frame(frames.DATA, END_STREAM if end else 0, stream_id, content))

    def trailers(self, stream_id: int, fields: Sequence[tuple[str, str]]) -> None:
        """Ends a request with these."""
        block = self._encoder.encode(list(fields))
        self._writer.write(frames.frame(frames.HEADERS, END_HEADERS | END_STREAM, stream_id, block))

    def reset(self, stream_id: int, code: int = 8) -> None:
        """Gives a request up."""
        self._writer.write(frames.rst_stream(stream_id, code))

    async def flush(self) -> None:
        """Until the socket took what was sent."""
        await self._writer.drain()

    async def answer(self, stream_id: int, timeout_seconds: float = 10) -> Answer:
        """Waits for the end of an answer, for a reset or for the end of the connection."""
        answer = self.answers[stream_id]
        async with asyncio.timeout(timeout_seconds):
            while not answer.ended and answer.reset_code is None and not self.closed:
                answer.changed.clear()
                await answer.changed.wait()
        return answer

    async def close(self) -> None:
        """Drops the connection."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.transport.abort()

    async def _read(self) -> None:
        try:
            while True:
                word, flags, stream_id = FRAME_HEADER.unpack(await self._reader.readexactly(HEADER_BYTES))
                self._on_frame(word & 0xFF, flags, stream_id, await self._reader.readexactly(word >> 8))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed = True
            for answer in self.answers.values():
                answer.changed.set()

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.SETTINGS and not flags & frames.ACK:
            self.settings |= dict(frames.read_settings(payload))
            self._writer.write(frames.SETTINGS_ACK)
        elif kind == frames.PING and not flags & frames.ACK:
            self._writer.write(frames.ping(payload, frames.ACK))
        answer = self.answers.get(stream_id)
        if kind == frames.HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if answer is not None:
                answer.status = answer.status or int(fields.pop(":status", "0"))
                answer.headers |= fields
        if answer is None:
            return
        if kind == frames.DATA:
            answer.body += payload
            if self._reads and payload:
                self._writer.write(
                    frames.window_update(0, len(payload)) + frames.window_update(stream_id, len(payload))
                )
        if kind == frames.RST_STREAM:
            answer.reset_code = int.from_bytes(payload, "big")
        if kind in (frames.HEADERS, frames.DATA) and flags & END_STREAM:
            answer.ended = True
        answer.changed.set()
