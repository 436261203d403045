"""One HTTP/2 connection of a server as a machine without I/O (RFC 9113): bytes in, hooks of streams and bytes out.

`receive` never raises: a fault of the peer ends its stream with RST_STREAM, or the connection with GOAWAY. Frames other
than DATA are small, and awaited whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Bounds, Budget
from gateway_plugin.grpc.http2.closed_streams import ClosedStreams
from gateway_plugin.grpc.http2.control import ControlFrames
from gateway_plugin.grpc.http2.data import DataFrames
from gateway_plugin.grpc.http2.frames import (
    CONTINUATION,
    DATA,
    FRAME_HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    RST_STREAM,
    STREAM_ID_MASK,
)
from gateway_plugin.grpc.http2.header_frames import HeaderFrames
from gateway_plugin.grpc.http2.http2_errors import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    ConnectionFault,
    StreamFault,
)
from gateway_plugin.grpc.http2.memory import MessageMemory
from gateway_plugin.grpc.http2.sending import Sender
from gateway_plugin.grpc.http2.stream import AFTER_RECEIVED_END, AFTER_SENT_END, CLOSED, Peer, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.grpc.http2.hpack_static import Field


class Connection:
    """One peer. `new_stream` makes the owner of a stream; `write_soon` is called when there is something to `take`."""

    def __init__(
        self,
        new_stream: Callable[[Peer, int], Stream],
        bounds: Bounds,
        clock: Callable[[], float],
        write_soon: Callable[[], None],
        indexed: tuple[Field, ...] = (),
        memory: MessageMemory | None = None,
    ) -> None:
        self.bounds = bounds
        self.memory = memory or MessageMemory(bounds.memory_bytes)
        """Of all connections of a listener."""
        self.new_stream = new_stream
        self.streams: dict[int, Stream] = {}
        self.max_streams = bounds.max_concurrent_streams
        """That may be open at once; none any more once the last GOAWAY is sent."""
        self.last_stream_id = 0
        self.closed_streams = ClosedStreams()
        self.buffered_bytes = 0
        """What streams keep of messages that are incomplete or wait."""
        self.fault: ConnectionFault | None = None
        """Set when the peer ended the connection by a fault; then nothing more is read."""
        self.sender = Sender(write_soon, self, indexed)
        self._headers = HeaderFrames(self)
        self._control = ControlFrames(self, clock)
        self._data = DataFrames(self, clock)
        self._on = {
            DATA: self._data.on_frame,
            HEADERS: self._headers.on_frame,
            CONTINUATION: self._headers.on_continuation,
            RST_STREAM: self._control.on_reset,
        }
        self._plain_bytes = min(bounds.max_frame_bytes, bounds.header_list_bytes)
        self._faulty = Budget(bounds.faulty_streams, clock)
        self._greeted = False
        self._rest = bytearray()
        self._wanted = len(frames.PREFACE)

    def start(self) -> None:
        """Our half of the preface (3.4)."""
        bounds = self.bounds
        values = {
            frames.MAX_CONCURRENT_STREAMS: bounds.max_concurrent_streams,
            frames.INITIAL_WINDOW_SIZE: bounds.stream_window_bytes,
            frames.MAX_FRAME_SIZE: bounds.max_frame_bytes,
            frames.MAX_HEADER_LIST_SIZE: bounds.header_list_bytes,
        }
        self.sender.control(frames.settings(values))
        self.sender.control(frames.window_update(0, bounds.connection_window_bytes - frames.DEFAULT_WINDOW))

    @property
    def greeted(self) -> bool:
        """True when the peer's preface, with its SETTINGS, is complete."""
        return self._control.settings_seen

    @property
    def finished(self) -> bool:
        """True when the connection can be closed once everything is written."""
        return self.fault is not None or (self._control.going_away and not self.streams)

    def receive(self, data: bytes) -> None:
        """Takes what arrived."""
        if self.fault is not None:
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), bytearray()
        try:
            at = self._parse(data)
        except ConnectionFault as fault:
            self.fault = fault
            self.sender.control(frames.goaway(self.last_stream_id, fault.code, fault.text))
            self.abandon()
        else:
            if at < len(data):
                self._rest += memoryview(data)[at:]

    def abandon(self) -> None:
        """The connection is lost: ends all streams."""
        for stream in list(self.streams.values()):
            if stream.state != CLOSED:
                self.close(stream, ours=True)

    def drain(self) -> None:
        """No new streams; those that are open may finish (6.8)."""
        self._control.drain()

    def ping(self) -> None:
        """Asks the peer for a sign of life."""
        self.sender.control(frames.ping(b"alive?\0\0"))

    def reset(self, stream: Stream, code: int = CANCEL) -> None:
        """Ends a stream at once."""
        if stream.state != CLOSED:
            self.sender.control(frames.rst_stream(stream.id, code))
            self.close(stream, ours=True)

    def replenish(self, stream: Stream) -> None:
        """The owner of a stream takes data again."""
        self._data.replenish(stream)

    def received_end(self, stream: Stream) -> None:
        """END_STREAM."""
        if stream.state == CLOSED:
            return
        stream.state = AFTER_RECEIVED_END[stream.state]
        if stream.state == CLOSED:
            self.close(stream, ours=False)
        else:
            stream.half_closed()

    def close(self, stream: Stream, *, ours: bool) -> None:
        """A stream is over; `ours` when the peer may not know."""
        stream.state = CLOSED
        del self.streams[stream.id]
        self.closed_streams.add(stream.id, ours=ours)
        if stream.queue is not None:
            self.sender.forget(stream)
        stream.closed()

    def _parse(self, data: bytes) -> int:
        """Takes all that is complete; returns where the rest starts."""
        at, end = 0, len(data)
        if not self._greeted:
            at = self._greet(data)
            if not at:
                return 0
        if self._data.left:
            at = self._data.on_rest(data, at)
        unpack, plain_bytes = FRAME_HEADER.unpack_from, self._plain_bytes
        headers, control, on = self._headers, self._control, self._on
        while end - at >= HEADER_BYTES:
            word, flags, stream_id = unpack(data, at)
            length, kind = word >> 8, word & 0xFF
            stream_id &= STREAM_ID_MASK
            start = at + HEADER_BYTES
            stop = start + length
            if length > plain_bytes:
                self._check_size(kind, length)
            if stop > end and self._must_wait(kind, flags, length):
                return at
            if headers.open or not control.settings_seen:
                self._check_order(kind, flags, stream_id)
            try:
                if kind in on:
                    on[kind](flags, stream_id, data, start, length)
                else:
                    control.on_frame(kind, flags, stream_id, data[start:stop])
            except StreamFault as fault:
                self._reset_for(fault)
            at = stop
        self._wanted = HEADER_BYTES
        return min(at, end)

    def _greet(self, data: bytes) -> int:
        preface = frames.PREFACE
        if not preface.startswith(data[: len(preface)]):
            raise ConnectionFault(PROTOCOL_ERROR, "not HTTP/2 with prior knowledge")
        if len(data) < len(preface):
            return 0
        self._greeted = True
        return len(preface)

    def _check_size(self, kind: int, length: int) -> None:
        if length > self.bounds.max_frame_bytes:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a frame exceeds SETTINGS_MAX_FRAME_SIZE")
        if kind != DATA:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a frame other than DATA is too large")

    def _must_wait(self, kind: int, flags: int, length: int) -> bool:
        """Whether a frame that is not all there is awaited whole."""
        if kind == DATA and not flags & PADDED:
            return False
        self._wanted = HEADER_BYTES + length
        return True

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        self._control.check_first(kind, flags)
        self._headers.check_contiguous(kind, stream_id)

    def _reset_for(self, fault: StreamFault) -> None:
        if not self._faulty.spend():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many faulty streams")
        self.sender.control(frames.rst_stream(fault.stream_id, fault.code))
        stream = self.streams.get(fault.stream_id)
        if stream is not None:
            self.close(stream, ours=True)
        else:
            self.closed_streams.add(fault.stream_id, ours=True)

    def sent_end(self, stream: Stream) -> None:
        """We have ended our side; what the peer may still send is of no use (8.1)."""
        stream.state = AFTER_SENT_END[stream.state]
        if stream.state == CLOSED:
            self.close(stream, ours=False)
        else:
            self.reset(stream, NO_ERROR)
