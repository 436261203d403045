"""HEADERS and CONTINUATION (RFC 9113, 6.2, 6.10, 8.1): from frames to requests and trailers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2.fields import MalformedError, StreamHead, check_regular, read_head
from gateway_plugin.grpc.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITY_FLAG,
    STREAM_ID_MASK,
    UINT32,
)
from gateway_plugin.grpc.http2.hpack import Decoder, HeaderListTooLargeError
from gateway_plugin.grpc.http2.http2_errors import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    ConnectionFault,
    StreamFault,
)
from gateway_plugin.grpc.http2.stream import CLOSED, IDLE, RECEIVE_END, RECEIVE_HEADERS, TRANSITIONS

if TYPE_CHECKING:
    from gateway_plugin.grpc.http2.hpack_static import Field
    from gateway_plugin.grpc.http2.stream import Peer

_PRIORITY_BYTES = 5
"""RFC 9113, section 6.2."""
_OPENED = TRANSITIONS[IDLE, RECEIVE_HEADERS]
_OPENED_AND_ENDED = TRANSITIONS[_OPENED, RECEIVE_END]


class HeaderFrames:
    """The header blocks of one connection, and the streams they open and end."""

    def __init__(self, connection: Peer) -> None:
        bounds = connection.bounds
        self._connection = connection
        self._decoder = Decoder(bounds.header_table_bytes, bounds.header_list_bytes)
        self._max_block_bytes = bounds.header_list_bytes
        self._last_fields: tuple[Field, ...] | None = None
        self._last_head: StreamHead | None = None
        self.open = False
        """True between a HEADERS frame and the end of its block."""
        self._stream_id = 0
        self._ends = False
        self._block = bytearray()
        self._continuations = 0

    def check_contiguous(self, kind: int, stream_id: int) -> None:
        """Nothing may come between the frames of a block (6.10)."""
        if self.open and (kind != CONTINUATION or stream_id != self._stream_id):
            raise ConnectionFault(PROTOCOL_ERROR, "header block and other frames are mixed")

    def on_frame(self, flags: int, stream_id: int, data: bytes, start: int, length: int) -> None:
        """HEADERS; all of it is there."""
        if not stream_id % 2:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a stream that no client can open")
        payload = data[start : start + length]
        if flags & (PADDED | PRIORITY_FLAG):
            payload = _fragment(flags, stream_id, payload)
        ends = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._on_block(stream_id, payload, ends=ends)
            return
        self.open, self._stream_id, self._ends = True, stream_id, ends
        self._block = bytearray(payload)
        self._continuations = 0

    def on_continuation(self, flags: int, _: int, data: bytes, start: int, length: int) -> None:
        """CONTINUATION of the open block; all of it is there."""
        if not self.open:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block += data[start : start + length]
        self._continuations += 1
        if self._continuations > self._connection.bounds.continuation_frames:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        if len(self._block) > self._max_block_bytes:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & END_HEADERS:
            self.open = False
            block, self._block = bytes(self._block), bytearray()
            self._on_block(self._stream_id, block, ends=self._ends)

    def _on_block(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        connection = self._connection
        try:
            fields = self._decoder.kept.get(block) or self._decoder.decode(block)
        except HeaderListTooLargeError:
            fields = None
        if stream_id > connection.last_stream_id:
            self._request(stream_id, fields, ends=ends)
        elif stream_id in connection.streams:
            self._trailers(stream_id, fields, ends=ends)
        elif connection.closed_streams.were_ended_by_peer(stream_id):
            raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")
        elif not connection.closed_streams.were_ended_by_us(stream_id):
            raise ConnectionFault(PROTOCOL_ERROR, "a stream number that is not above all others")

    def _request(self, stream_id: int, fields: tuple[Field, ...] | None, *, ends: bool) -> None:
        connection = self._connection
        connection.last_stream_id = stream_id
        if len(connection.streams) >= connection.max_streams:
            raise StreamFault(stream_id, REFUSED_STREAM, "no more streams here")
        # What the decoder kept is the same tuple each time.
        head = self._last_head if fields is self._last_fields else self._head(stream_id, fields)
        if head is not None and ends and head.content_length > 0:
            raise StreamFault(stream_id, PROTOCOL_ERROR, "content-length without a body")
        stream = connection.new_stream(connection, stream_id)
        stream.state = _OPENED_AND_ENDED if ends else _OPENED
        stream.receive_window = connection.bounds.stream_window_bytes
        stream.send_window = connection.sender.initial_window
        connection.streams[stream_id] = stream
        if head is None:
            stream.headers_too_large()
            return
        stream.body_left = head.content_length
        stream.opened(head)
        if ends and stream.state != CLOSED:
            stream.half_closed()

    def _head(self, stream_id: int, fields: tuple[Field, ...] | None) -> StreamHead | None:
        if fields is None:
            return None
        try:
            head = read_head(fields)
        except MalformedError as error:
            raise StreamFault(stream_id, PROTOCOL_ERROR, str(error)) from None
        self._last_fields, self._last_head = fields, head
        return head

    def _trailers(self, stream_id: int, fields: tuple[Field, ...] | None, *, ends: bool) -> None:
        stream = self._connection.streams[stream_id]
        if (stream.state, RECEIVE_END) not in TRANSITIONS:
            raise StreamFault(stream_id, STREAM_CLOSED, "HEADERS after the end of the stream")
        if not ends or stream.body_left > 0:
            raise StreamFault(stream_id, PROTOCOL_ERROR, "trailers that do not end the stream, or end it early")
        try:
            check_regular(fields or ())
        except MalformedError as error:
            raise StreamFault(stream_id, PROTOCOL_ERROR, str(error)) from None
        self._connection.received_end(stream)


def check_priority(stream_id: int, payload: bytes) -> None:
    """The obsolete priority of a stream: ignored, but it may not depend on itself (RFC 7540, 5.3.1)."""
    if UINT32.unpack_from(payload)[0] & STREAM_ID_MASK == stream_id:
        raise StreamFault(stream_id, PROTOCOL_ERROR, "a stream depends on itself")


def _fragment(flags: int, stream_id: int, payload: bytes) -> bytes:
    """The header block fragment, without padding and priority."""
    end = len(payload)
    start = 0
    if flags & PADDED:
        start = 1
        end -= payload[0] if payload else 0
    try:
        if flags & PRIORITY_FLAG:
            check_priority(stream_id, payload[start:end])
            start += _PRIORITY_BYTES
    except struct.error:
        raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS too short for its flags") from None
    if start > end:
        raise ConnectionFault(PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[start:end]
