"""The two messages of every request, as the exchange reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from envoy.config.core.v3.base_pb2 import HeaderValue


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """`values` by lower-case name; a repeated header keeps its first value, and is named in `repeated`."""

    values: dict[str, str]
    end_of_stream: bool
    """True when the request has no body."""
    repeated: tuple[str, ...] = ()


def request_headers_of(message: bytes, wanted: AbstractSet[str]) -> RequestHeaders | None:
    """The wanted headers of a request; None for another message. Raises DecodeError."""
    parsed = ProcessingRequest.FromString(message)
    if not parsed.HasField("request_headers"):
        return None
    headers = parsed.request_headers
    found: dict[str, str] = {}
    repeated: tuple[str, ...] = ()
    for header in headers.headers.headers:
        name = header.key
        if name not in wanted:
            continue
        if name in found:
            repeated += (name,)
        else:
            found[name] = text_of(header)
    return RequestHeaders(found, headers.end_of_stream, repeated)


def request_body_of(message: bytes) -> bytes | None:
    """The buffered request body; None for another message. Raises DecodeError."""
    parsed = ProcessingRequest.FromString(message)
    return parsed.request_body.body if parsed.HasField("request_body") else None


def text_of(header: HeaderValue) -> str:
    """The value of a header."""
    return str(header.raw_value or header.value.encode(), "utf-8", "replace")
