"""A client by hand, for a connection without sockets: frames in, frames and hooks out. Its HPACK is another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hpack

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.connection import Connection
from gateway_plugin.grpc.http2.fields import StreamHead
from gateway_plugin.grpc.http2.frames import END_HEADERS, END_STREAM, FRAME_HEADER
from gateway_plugin.grpc.http2.stream import Peer as PeerView
from gateway_plugin.grpc.http2.stream import Stream

GRPC = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t.T/Echo"),
    (":authority", "plugin"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream_id: int
    payload: bytes = b""

    @property
    def code(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == frames.GOAWAY else self.payload, "big")


class RecordingStream(Stream):
    """Writes down what its hooks hear."""

    def __init__(self, peer: Peer, connection: PeerView, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self._events = peer.events

    def opened(self, head: StreamHead) -> None:
        self._events.append(("opened", self.id, head.path))

    def headers_too_large(self) -> None:
        self._events.append(("too large", self.id))

    def data(self, buffer: bytes, start: int, end: int) -> None:
        last = self._events[-1]
        content = buffer[start:end]
        if last[:2] == ("data", self.id):  # DATA may come in any parts
            content = last[2] + content
            self._events.pop()
        self._events.append(("data", self.id, content))

    def half_closed(self) -> None:
        self._events.append(("half_closed", self.id))

    def closed(self) -> None:
        self._events.append(("closed", self.id))


class Peer:
    """A connection under test, and the client at its other end."""

    def __init__(
        self, bounds: Bounds | None = None, new_stream: Callable[[PeerView, int], Stream] | None = None
    ) -> None:
        self.now = 0.0
        self.events: list[Any] = []
        self.wake_ups = 0
        self.connection = Connection(
            new_stream or (lambda connection, stream_id: RecordingStream(self, connection, stream_id)),
            bounds or Bounds(),
            lambda: self.now,
            self._wake_up,
        )
        self.connection.start()
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()

    def greet(self, settings: dict[int, int] | None = None) -> Peer:
        """The preface; what it causes is read."""
        self.send(frames.PREFACE + frames.settings(settings or {}))
        self.receive()
        return self

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.receive(part)

    def receive(self) -> list[Frame]:
        """All frames that leave now."""
        data = self.connection.sender.take()
        found = []
        at = 0
        while at < len(data):
            word, flags, stream_id = FRAME_HEADER.unpack_from(data, at)
            at += frames.HEADER_BYTES
            found.append(Frame(word & 0xFF, flags, stream_id, data[at : at + (word >> 8)]))
            at += word >> 8
        return found

    def headers(
        self,
        stream_id: int,
        fields: list[tuple[str, str]] | None = None,
        flags: int = END_HEADERS,
        *,
        end: bool = False,
    ) -> bytes:
        block = self.encoder.encode(GRPC if fields is None else fields)
        return frames.frame(frames.HEADERS, flags | (END_STREAM if end else 0), stream_id, block)

    def fields(self, frame: Frame) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.decoder.decode(frame.payload)}

    def _wake_up(self) -> None:
        self.wake_ups += 1


def data(stream_id: int, content: bytes = b"", *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, END_STREAM if end else 0, stream_id, content)


def goaway_of(peer: Peer) -> tuple[int, str]:
    """The code and text by which the connection ended."""
    found = [frame for frame in peer.receive() if frame.kind == frames.GOAWAY]
    assert len(found) == 1, "one GOAWAY ends a connection"
    assert peer.connection.finished
    assert not peer.connection.streams
    return found[0].code, found[0].payload[8:].decode()


def resets_of(peer: Peer) -> list[tuple[int, int]]:
    """Streams that were reset, with their codes."""
    assert peer.connection.fault is None, peer.connection.fault
    return [(frame.stream_id, frame.code) for frame in peer.receive() if frame.kind == frames.RST_STREAM]
