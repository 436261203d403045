"""Frames of HTTP/2 (RFC 9113, sections 4 and 6): numbers, and bytes to send."""

from __future__ import annotations

from struct import Struct

from gateway_plugin.grpc.http2.http2_errors import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, ConnectionFault

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

HEADER_BYTES = 9
DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1
DEFAULT_FRAME = 16_384
MAX_FRAME = 2**24 - 1
STREAM_ID_MASK = 2**31 - 1

# The first four bytes of a frame header are read as one number: 24 bits of length, then 8 of type.
FRAME_HEADER = Struct(">IBI")
UINT32 = Struct(">I")
SETTING = Struct(">HI")
_FRAME_AND_UINT32 = Struct(">IBII")
_FRAME_AND_TWO_UINT32 = Struct(">IBIII")

SETTINGS_ACK = FRAME_HEADER.pack(SETTINGS, ACK, 0)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS (6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in values.items()))


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (6.4)."""
    return _FRAME_AND_UINT32.pack(4 << 8 | RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (6.9)."""
    return _FRAME_AND_UINT32.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def ping(payload: bytes, flags: int = 0) -> bytes:
    """PING (6.7)."""
    return frame(PING, flags, 0, payload)


def goaway(last_stream_id: int, code: int, text: str = "") -> bytes:
    """GOAWAY (6.8), with a text for whoever reads the peer's log."""
    debug = text.encode()
    return _FRAME_AND_TWO_UINT32.pack((8 + len(debug)) << 8 | GOAWAY, 0, 0, last_stream_id, code) + debug


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a frame in their order, checked (6.5.2); unknown ones included."""
    if len(payload) % 6:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS is not a multiple of six bytes")
    found = list(SETTING.iter_unpack(payload))
    for name, value in found:
        if name == ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
        if name == MAX_FRAME_SIZE and not DEFAULT_FRAME <= value <= MAX_FRAME:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of range")
    return found
