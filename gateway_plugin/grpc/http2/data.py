"""DATA (RFC 9113, 6.1) and the windows we give (5.2): handed on as it arrives, without waiting for whole frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Budget
from gateway_plugin.grpc.http2.frames import END_STREAM, PADDED
from gateway_plugin.grpc.http2.http2_errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    ConnectionFault,
    StreamFault,
)
from gateway_plugin.grpc.http2.stream import CLOSED, TAKES_DATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.grpc.http2.stream import Peer, Stream


class DataFrames:
    """The DATA of one connection."""

    def __init__(self, connection: Peer, clock: Callable[[], float]) -> None:
        bounds = connection.bounds
        self._connection = connection
        self._streams = connection.streams
        self._empty = Budget(bounds.empty_frames, clock)
        self._window = self._full_window = bounds.connection_window_bytes
        self._low_window = bounds.connection_window_bytes // 2
        self._low_stream_window = bounds.stream_window_bytes // 2
        self.left = 0
        """Bytes to come of the frame that is arriving."""
        self._stream: Stream | None = None  # of that frame; None when nobody wants it
        self._ends = False

    def on_frame(self, flags: int, stream_id: int, data: bytes, start: int, length: int) -> None:
        """A frame whose payload begins at `start`, and as much of it as is there."""
        self._window -= length
        if self._window < self._low_window:
            self._renew_window()
        content = stop = start + length
        end = len(data)
        self.left = stop - end if stop > end else 0
        self._stream = None
        if flags & PADDED:
            start, content = _without_padding(data, start, stop)
        elif not length and not flags & END_STREAM and not self._empty.spend():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many empty frames")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_gone(stream_id)
            return
        self._ends = ends = bool(flags & END_STREAM)
        if stream.state not in TAKES_DATA or stream.receive_window < length or stream.body_left >= 0:
            self._check(stream, length, content - start)
        stream.receive_window -= length
        if self.left:
            self._stream = stream
            self._hand_on(stream, data, start, end)
            return
        if content > start:
            stream.data(data, start, content)
        if ends:
            self._connection.received_end(stream)
        elif stream.receive_window <= self._low_stream_window:
            self.replenish(stream)

    def on_rest(self, data: bytes, at: int) -> int:
        """More of a frame whose start came earlier; returns where it ends."""
        stop = min(at + self.left, len(data))
        self.left -= stop - at
        if self._stream is not None:
            self._hand_on(self._stream, data, at, stop)
        return stop

    def replenish(self, stream: Stream) -> None:
        """Gives a stream's window back, when it is due and its owner takes data."""
        if stream.receive_window <= self._low_stream_window and not stream.holding:
            full = self._connection.bounds.stream_window_bytes
            if stream.state in TAKES_DATA:
                self._connection.sender.control(frames.window_update(stream.id, full - stream.receive_window))
                stream.receive_window = full

    def _renew_window(self) -> None:
        """The connection's window is given back at once; what streams keep has a bound of its own."""
        if self._window < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        self._connection.sender.control(frames.window_update(0, self._full_window - self._window))
        self._window = self._full_window

    def _check(self, stream: Stream, length: int, content: int) -> None:
        if stream.state not in TAKES_DATA:
            raise StreamFault(stream.id, STREAM_CLOSED, "DATA after the end of the stream")
        if stream.receive_window < length:
            raise StreamFault(stream.id, FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        if stream.body_left >= 0:
            stream.body_left -= content
            if stream.body_left < 0 or (self._ends and stream.body_left):
                raise StreamFault(stream.id, PROTOCOL_ERROR, "content-length and DATA differ")

    def _hand_on(self, stream: Stream, data: bytes, start: int, stop: int) -> None:
        if stop > start and stream.state != CLOSED:
            stream.data(data, start, stop)
        if self.left:
            return
        self._stream = None
        if self._ends:
            self._connection.received_end(stream)
        elif stream.receive_window <= self._low_stream_window:
            self.replenish(stream)

    def _check_gone(self, stream_id: int) -> None:
        """DATA on a stream that is not there."""
        if stream_id == 0 or stream_id > self._connection.last_stream_id or not stream_id % 2:
            raise ConnectionFault(PROTOCOL_ERROR, "DATA on an idle stream")
        if not self._connection.closed_streams.were_ended_by_us(stream_id):
            raise StreamFault(stream_id, STREAM_CLOSED, "DATA on a closed stream")


def _without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    """Where the content of a padded frame starts and stops; padded frames are always whole."""
    padding = data[start] if stop > start else stop - start
    if padding >= stop - start:
        raise ConnectionFault(PROTOCOL_ERROR, "padding is longer than its frame")
    return start + 1, stop - padding
