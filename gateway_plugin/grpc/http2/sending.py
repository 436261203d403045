"""What leaves a connection: frames in order, DATA only as far as the peer's windows allow (RFC 9113, 5.2 and 6.9).

All that is sent in one turn of the event loop leaves together: `write_soon` is called once, `take` returns everything.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2.frames import (
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADERS,
    MAX_WINDOW,
    frame,
)
from gateway_plugin.grpc.http2.hpack import Encoder
from gateway_plugin.grpc.http2.http2_errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    ConnectionFault,
    StreamFault,
)
from gateway_plugin.grpc.http2.stream import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.grpc.http2.hpack_static import Field
    from gateway_plugin.grpc.http2.stream import Peer, Stream

_DATA_BYTES_OF_ONE_FRAME = 64 * 1024
"""Larger frames are not worth the wait of other streams."""


class Sender:
    """The sending half of a connection."""

    def __init__(self, write_soon: Callable[[], None], connection: Peer, indexed: tuple[Field, ...]) -> None:
        self._write_soon = write_soon
        self._connection = connection
        self._encoder = Encoder(indexed)
        self._out: list[bytes | memoryview] = []
        self._asked = False
        self._window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        """Of a new stream."""
        self._frame_bytes = DEFAULT_FRAME
        self._queued_bytes = 0
        self._blocked: OrderedDict[int, Stream] = OrderedDict()
        self._ending: list[Stream] = []
        """Streams of which all but the trailers has left, and those that were closed since."""

    def hold(self) -> None:
        """The caller promises a `take` in this turn of the loop: nobody need be asked for it."""
        self._asked = True

    def take(self) -> bytes:
        """Everything to be written, in order."""
        if self._ending:
            ending, self._ending = self._ending, []
            for stream in ending:
                if stream.state != CLOSED:
                    self._end(stream)
        self._asked = False
        out, self._out = self._out, []
        return b"".join(out)

    def control(self, frame_bytes: bytes) -> None:
        """A frame that no window holds back."""
        self._out.append(frame_bytes)
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        self._asked = True
        self._write_soon()

    def headers(self, stream: Stream, fields: tuple[Field, ...], *, end: bool = False) -> None:
        """HEADERS. Ours are far smaller than any frame may be."""
        stream.answered = True
        block = self._encoder.kept.get(fields) or self._encoder.encode(fields)
        flags = END_HEADERS | END_STREAM if end else END_HEADERS
        self._out += (FRAME_HEADER.pack(len(block) << 8 | HEADERS, flags, stream.id), block)
        if not self._asked:
            self._ask()
        if end:
            self._connection.sent_end(stream)

    def data(self, stream: Stream, payload: bytes, before: bytes = b"") -> None:
        """DATA: now if the windows allow, else later. `before` is the beginning of the same frame."""
        size = len(before) + len(payload)
        if stream.queue is None and size <= self._frame_bytes and size <= stream.send_window and size <= self._window:
            stream.send_window -= size
            self._window -= size
            self._out += (FRAME_HEADER.pack(size << 8, 0, stream.id), before, payload)
            if not self._asked:
                self._ask()
            return
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(memoryview(before + payload))
        self._count(stream, size)
        if self._queued_bytes > self._connection.bounds.buffered_bytes:
            self._connection.reset(stream, ENHANCE_YOUR_CALM)
            return
        self._blocked[stream.id] = stream
        self._pump()

    def finish(self, stream: Stream, trailers: tuple[Field, ...] = ()) -> None:
        """Ends the stream after what is queued, not before the next `take`; without trailers by an empty DATA frame.

        Envoy ends its side and resets the stream in one go: by the time of `take` nobody waits for trailers any more.
        """
        if stream.state == CLOSED:
            # What was to be sent before was too much to keep.
            return
        stream.trailers = trailers
        if stream.queue is None:
            self._ending.append(stream)
            if not self._asked:
                self._ask()

    def forget(self, stream: Stream) -> None:
        """Drops what is queued for a stream that is over."""
        if stream.queue is not None:
            stream.queue = None
            self._count(stream, -stream.queued_bytes)
            self._blocked.pop(stream.id, None)

    def window_update(self, stream: Stream | None, increment: int) -> None:
        """The peer takes more, of one stream or of all."""
        if stream is None:
            if not increment or self._window + increment > MAX_WINDOW:
                raise ConnectionFault(*_bad_increment(increment))
            self._window += increment
        else:
            if not increment or stream.send_window + increment > MAX_WINDOW:
                raise StreamFault(stream.id, *_bad_increment(increment))
            stream.send_window += increment
            if stream.queue is not None:
                self._blocked[stream.id] = stream
        if self._blocked:
            self._pump()

    def change_initial_window(self, size: int, streams: Iterable[Stream]) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE changes the windows of all streams, also below zero (6.9.2)."""
        change = size - self.initial_window
        self.initial_window = size
        for stream in streams:
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE overflows a window")
            if stream.queue is not None:
                self._blocked[stream.id] = stream
        self._pump()

    def max_frame(self, size: int) -> None:
        """SETTINGS_MAX_FRAME_SIZE."""
        self._frame_bytes = min(size, _DATA_BYTES_OF_ONE_FRAME)

    def header_table(self, size: int) -> None:
        """SETTINGS_HEADER_TABLE_SIZE."""
        self._encoder.allow(size)

    def _pump(self) -> None:
        """One frame of each stream in turn, while the connection's window lasts."""
        while self._blocked and self._window > 0:
            self._send_next(self._blocked.popitem(last=False)[1])

    def _send_next(self, stream: Stream) -> None:
        queue = stream.queue
        size = min(stream.send_window, self._window, self._frame_bytes)
        if not queue or (size <= 0 and len(queue[0])):
            return
        part = queue[0]
        if len(part) <= size:
            queue.popleft()
        else:
            part, queue[0] = part[:size], part[size:]
        stream.send_window -= len(part)
        self._window -= len(part)
        self._count(stream, -len(part))
        self.control(FRAME_HEADER.pack(len(part) << 8, 0, stream.id))
        self._out.append(part)
        if queue:
            self._blocked[stream.id] = stream
        else:
            self._emptied(stream)

    def _count(self, stream: Stream, size: int) -> None:
        stream.queued_bytes += size
        self._queued_bytes += size

    def _emptied(self, stream: Stream) -> None:
        stream.queue = None
        if stream.trailers is not None:
            self._end(stream)
        else:
            stream.drained()

    def _end(self, stream: Stream) -> None:
        if stream.trailers:
            self.headers(stream, stream.trailers, end=True)
        else:
            self.control(frame(DATA, END_STREAM, stream.id))
            self._connection.sent_end(stream)


def _bad_increment(increment: int) -> tuple[int, str]:
    if increment:
        return FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the window"
    return PROTOCOL_ERROR, "WINDOW_UPDATE of zero"
