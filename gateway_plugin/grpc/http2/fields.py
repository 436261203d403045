"""Header lists of requests: what RFC 9113 section 8 allows, and what of them we read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_plugin.grpc.http2.hpack_static import Field

_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings")
)
# Lists are checked joined: one pass in C for all names, and one for all values.
_NAMES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\n)*")
_BAD_VALUE = re.compile(rb"[\x00\r]|(?:\A|\n)[ \t]|[ \t](?:\n|\Z)")


class MalformedError(Exception):
    """A request that is malformed in the sense of 8.1.1."""


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What a server of gRPC reads of a request's headers."""

    method: bytes
    path: bytes
    content_type: bytes = b""
    grpc_timeout: bytes = b""
    content_length: int = -1
    """-1 when the client does not say."""
    traceparent: bytes = b""
    """As W3C's Trace Context writes the span that the call is part of; read by whoever traces."""
    fingerprint: bytes = b""
    """What the client's configuration was made for."""


def read_head(fields: tuple[Field, ...]) -> StreamHead:
    """Reads a request's header list; raises MalformedError."""
    count = _pseudo_count(fields)
    pseudo = dict(fields[:count])
    if len(pseudo) != count or not pseudo.keys() <= _PSEUDO:
        raise MalformedError("repeated, unknown or late pseudo-header")
    regular = fields[count:]
    check_regular(regular)
    found = dict(reversed(regular))
    if pseudo.get(b":method") == b"CONNECT":
        raise MalformedError("CONNECT is not served")
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise MalformedError(":method, :scheme or :path is missing")
    return StreamHead(
        pseudo[b":method"],
        pseudo[b":path"],
        found.get(b"content-type", b""),
        found.get(b"grpc-timeout", b""),
        _content_length(regular),
        found.get(b"traceparent", b""),
        found.get(b"x-gateway-fingerprint", b""),
    )


def check_regular(fields: tuple[Field, ...]) -> None:
    """Trailers, or what follows the pseudo-headers; raises MalformedError."""
    for name, value in fields:
        if name in _CONNECTION_SPECIFIC:
            raise MalformedError("connection-specific header")
        if name == b"te" and value.lower() != b"trailers":
            raise MalformedError("te is not trailers")
        if b"\n" in value or not name:
            raise MalformedError("forbidden character in a header")
    _check_characters(fields)


def _check_characters(fields: Iterable[Field]) -> None:
    names = b"".join([name + b"\n" for name, _ in fields])
    if not _NAMES.fullmatch(names) or _BAD_VALUE.search(b"\n".join([value for _, value in fields])):
        raise MalformedError("forbidden character in a header")


def _pseudo_count(fields: tuple[Field, ...]) -> int:
    for index, (name, _) in enumerate(fields):
        if not name.startswith(b":"):
            return index
    return len(fields)


def _content_length(fields: tuple[Field, ...]) -> int:
    values = {value for name, value in fields if name == b"content-length"}
    if not values:
        return -1
    value = values.pop()
    if values or not value.isdigit() or len(value) > 18:
        raise MalformedError("content-length is not one number")
    return int(value)
