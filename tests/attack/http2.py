"""HTTP/2 by hand: frames and fields that no library would send, and whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import hpack

from gateway_plugin.grpc.http2 import frames
from tests.attack.engine import MARK
from tests.attack.http1 import Answer, Heard

Fields = Sequence[tuple[str | bytes, str | bytes]]


class Writer:
    """Makes frames; one per connection, as header compression has a state."""

    def __init__(self, mark: str = "") -> None:
        self._mark = mark
        self._marked: set[int] = set()
        self._encoder = hpack.Encoder()

    def greeting(self) -> bytes:
        """The preface, with a window that needs no care."""
        large = frames.settings({frames.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW, frames.ENABLE_PUSH: 0})
        return frames.PREFACE + large + frames.window_update(0, 1 << 30)

    def headers(self, stream: int, fields: Fields, *, end: bool = False, whole: bool = True) -> bytes:
        """HEADERS, or trailers; without END_HEADERS when it is not to be whole."""
        mark = [] if stream in self._marked or not self._mark else [(MARK, self._mark)]
        self._marked.add(stream)
        block = self._encoder.encode([(_text(name), _text(value)) for name, value in (*fields, *mark)])
        flags = (frames.END_STREAM if end else 0) | (frames.END_HEADERS if whole else 0)
        return frames.frame(frames.HEADERS, flags, stream, block)

    @staticmethod
    def data(stream: int, content: bytes, *, end: bool = True) -> bytes:
        """DATA, in frames of the usual size."""
        starts = range(0, max(len(content), 1), frames.DEFAULT_FRAME)
        pieces = [content[at : at + frames.DEFAULT_FRAME] for at in starts]
        last = len(pieces) - 1
        return b"".join(
            frames.frame(frames.DATA, frames.END_STREAM if end and i == last else 0, stream, piece)
            for i, piece in enumerate(pieces)
        )

    @staticmethod
    def reset(stream: int, code: int = 8) -> bytes:
        """RST_STREAM, CANCEL unless told otherwise."""
        return frames.rst_stream(stream, code)


def _text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def usual(method: str = "POST", path: str = "/v1/chat/completions", *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Pseudo headers, and more."""
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "gateway"), *more]


Script = Callable[[Writer], Sequence[bytes]]


async def talk(
    port: int, mark: str, script: Script, *, pause_seconds: float = 0.0, patience_seconds: float, linger_seconds: float
) -> Heard:
    """Sends what the script makes of a new connection, and listens as `http1.talk` does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    frames_of = Writer(mark)
    ear = _Ear()
    heard = Heard()
    try:
        writer.write(frames_of.greeting())
        listening = asyncio.create_task(ear.listen(reader, writer, patience_seconds, linger_seconds))
        with contextlib.suppress(ConnectionError):
            for piece in script(frames_of):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_seconds)
        heard.closed = await listening
    finally:
        writer.close()
    heard.answers = [Answer(status, headers, bytes(body)) for status, headers, body in ear.ended]
    return heard


class _Ear:
    """Reads frames; a reset stream counts as an answer with status 0."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, dict[str, str], bytearray]] = []
        self._open: dict[int, tuple[int, dict[str, str], bytearray]] = {}
        self._decoder = hpack.Decoder()

    async def listen(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float, linger: float
    ) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        answered = False
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        word, flags, stream = frames.FRAME_HEADER.unpack(await reader.readexactly(9))
                        payload = await reader.readexactly(word >> 8)
                except asyncio.IncompleteReadError:
                    return True
                self._take(word & 0xFF, flags, stream, payload, writer)
                if self.ended and not answered:
                    answered, deadline = True, loop.time() + linger
        return reader.at_eof() or reader.exception() is not None

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, writer: asyncio.StreamWriter) -> None:
        if kind == frames.SETTINGS and not flags & frames.ACK:
            writer.write(frames.SETTINGS_ACK)
        elif kind == frames.HEADERS:
            self._headers(stream, payload)
        elif kind == frames.DATA and stream in self._open:
            self._open[stream][2].extend(payload)
        elif kind == frames.RST_STREAM:
            self.ended.append(self._open.pop(stream, (0, {}, bytearray())))
            return
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM and stream in self._open:
            self.ended.append(self._open.pop(stream))

    def _headers(self, stream: int, payload: bytes) -> None:
        fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
        status = int(fields.get(":status", "0"))
        if status >= 200:
            self._open[stream] = (status, fields, bytearray())
