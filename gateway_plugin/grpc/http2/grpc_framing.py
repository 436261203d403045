"""gRPC's own layer on HTTP/2: message prefixes, statuses in trailers, deadlines.

See "gRPC over HTTP2" of the gRPC project. Nothing is compressed here, and that is said to clients.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

if TYPE_CHECKING:
    from gateway_plugin.grpc.http2.fields import StreamHead
    from gateway_plugin.grpc.http2.hpack_static import Field

DEADLINE_EXCEEDED = 4

PREFIX = Struct(">BI")
"""Of each message: whether it is compressed, and its length."""
PREFIX_BYTES = PREFIX.size

_STATUS_200 = (b":status", b"200")
_CONTENT_TYPE = (b"content-type", b"application/grpc")
_ACCEPT_ENCODING = (b"grpc-accept-encoding", b"identity")
_STATUS_OK = (b"grpc-status", b"0")

RESPONSE_HEADERS: tuple[Field, ...] = (_STATUS_200, _CONTENT_TYPE, _ACCEPT_ENCODING)
INDEXED_FIELDS: tuple[Field, ...] = (_CONTENT_TYPE, _ACCEPT_ENCODING, _STATUS_OK)
"""What HPACK's table shall hold of our responses."""

OK_TRAILERS: tuple[Field, ...] = (_STATUS_OK,)

_MAX_TEXT_BYTES = 1024
"""Of a status message: header lists of clients end at 8 KiB."""
_UNESCAPED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
CONTENT_TYPE = b"application/grpc"
_CONTENT_TYPES = (CONTENT_TYPE, b"application/grpc+proto")


def trailers(status: int, text: str) -> tuple[Field, ...]:
    """A status as trailers."""
    if not status and not text:
        return OK_TRAILERS
    message = quote_from_bytes(text.encode("utf-8", "replace")[:_MAX_TEXT_BYTES], safe=_UNESCAPED)
    return (b"grpc-status", b"%d" % status), (b"grpc-message", message.encode())


def http_refusal(head: StreamHead) -> bytes:
    """The HTTP status for a request that is not gRPC; empty for gRPC."""
    if head.content_type.partition(b";")[0].strip() not in _CONTENT_TYPES:
        return b"415"
    return b"" if head.method == b"POST" else b"405"


def timeout_seconds(value: bytes) -> float | None:
    """`grpc-timeout`; None when it is not one."""
    found = _TIMEOUT.fullmatch(value)
    return int(found[1]) * _UNIT_SECONDS[found[2]] if found else None
