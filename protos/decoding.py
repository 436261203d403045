"""The two messages of every request, read with fewer objects than Envoy's own types make (see `envoy_request.proto`).

A header begins with its only key, as all of protobuf's own libraries write it. Values that look otherwise than Envoy
writes them are read by Envoy's types. What clients choose stands behind a length, so that no value poses as a header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

from protos.encoding import field, tag
from protos.envoy_request_pb2 import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEY = tag(HeaderValue.DESCRIPTOR, "key")
# Before a value, by its length; longer ones are left to upb.
_RAW_VALUES = {length: tag(HeaderValue.DESCRIPTOR, "raw_value") + bytes((length,)) for length in range(128)}


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """`values` by lower-case name; a repeated header keeps its first value, and is named in `repeated`."""

    values: dict[str, str]
    end_of_stream: bool
    """True when the request has no body."""
    repeated: tuple[str, ...] = ()


def names(headers: Iterable[str]) -> Mapping[bytes, str]:
    """Of wanted headers, by what a header's bytes begin with."""
    return {field(_KEY, name.encode()): name for name in headers}


def request_headers_of(message: bytes, wanted: Mapping[bytes, str]) -> RequestHeaders | None:
    """The wanted headers (see `names`) of a request; None for another message. Raises DecodeError."""
    request = Request.FromString(message).request_headers
    found: dict[str, str] = {}
    repeated: tuple[str, ...] = ()
    try:
        # A slice makes a list of it at once, which is cheaper than to go through it.
        for header in request.headers.headers[:]:
            key_end = header[1] + 2
            name = wanted.get(header[:key_end])
            if name is None:
                continue
            if name in found:
                repeated += (name,)
            else:
                value = header[key_end + 2 :]
                is_usual = header[key_end : key_end + 2] == _RAW_VALUES.get(len(value))
                found[name] = value.decode("utf-8", "replace") if is_usual else text_of(HeaderValue.FromString(header))
    except IndexError:  # a header of no bytes
        return _plain_headers(message, wanted)
    return RequestHeaders(found, request.end_of_stream, repeated) if found else _plain_headers(message, wanted)


def request_body_of(message: bytes) -> bytes | None:
    """The buffered request body; None for another message. Raises DecodeError."""
    body = Request.FromString(message).request_body.body
    if body:
        return body
    return b"" if ProcessingRequest.FromString(message).HasField("request_body") else None


def text_of(header: HeaderValue) -> str:
    """The value of a header."""
    return str(header.raw_value or header.value.encode(), "utf-8", "replace")


def _plain_headers(message: bytes, wanted: Mapping[bytes, str]) -> RequestHeaders | None:
    parsed = ProcessingRequest.FromString(message)
    if not parsed.HasField("request_headers"):
        return None
    of_interest, found, repeated = frozenset(wanted.values()), dict[str, str](), list[str]()
    for header in parsed.request_headers.headers.headers:
        if header.key in found:
            repeated.append(header.key)
        elif header.key in of_interest:
            found[header.key] = text_of(header)
    return RequestHeaders(found, parsed.request_headers.end_of_stream, tuple(repeated))
