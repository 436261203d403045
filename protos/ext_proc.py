"""ext_proc messages: what Envoy asks, as plain values, and the replies, built.

Envoy's rules that shape this module: header values travel in `raw_value` (a `value` arrives empty); a mode override is
a whole ProcessingMode, whose body fields have no default, so unset means NONE; `response_trailer_mode: SEND` keeps the
stream open until the HTTP exchange ends, without any further message when the response has no trailers.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.struct_pb2 import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

METHOD_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD_NAME = "Process"
METADATA_NAMESPACE = "gateway_plugin"
"""Dynamic metadata that the plugin writes and the access log brings back; Envoy's configuration must allow it."""

__all__ = ["Mode", "ProcessingRequest", "ProcessingResponse"]


class Mode(Enum):
    """What Envoy shall send after its header message."""

    BUFFERED_BODY = "buffered_body"
    """The whole request body, then nothing until the exchange ends."""
    HOLD = "hold"
    """Nothing more, but the stream stays open until the exchange ends."""


_MODES = {
    mode: ProcessingMode(
        request_header_mode=ProcessingMode.SEND,
        request_body_mode=body,
        response_header_mode=ProcessingMode.SKIP,
        response_body_mode=ProcessingMode.NONE,
        request_trailer_mode=ProcessingMode.SKIP,
        response_trailer_mode=ProcessingMode.SEND,
    )
    for mode, body in ((Mode.BUFFERED_BODY, ProcessingMode.BUFFERED), (Mode.HOLD, ProcessingMode.NONE))
}


def kind_of(message: ProcessingRequest) -> str:
    """Which message this is: "request_headers", "request_body", ...; empty for none."""
    return message.WhichOneof("request") or ""


def headers_of(message: ProcessingRequest, wanted: frozenset[str]) -> dict[str, str]:
    """The wanted request headers, by lower-case name; a repeated header keeps its first value."""
    found: dict[str, str] = {}
    for header in message.request_headers.headers.headers:
        if header.key in wanted and header.key not in found:
            found[header.key] = (header.raw_value or header.value.encode()).decode("utf-8", "replace")
    return found


def headers_end_stream(message: ProcessingRequest) -> bool:
    """True when the request has no body."""
    return bool(message.request_headers.end_of_stream)


def body_of(message: ProcessingRequest) -> bytes:
    """The buffered request body."""
    return bytes(message.request_body.body)


def headers_reply(
    set_headers: Mapping[str, str],
    remove_headers: Iterable[str],
    *,
    mode: Mode | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ProcessingResponse:
    """Answer to the header message; clears the route cache, because headers that select routes change."""
    common = _common(set_headers, remove_headers)
    return ProcessingResponse(
        request_headers=HeadersResponse(response=common),
        mode_override=_MODES[mode] if mode else None,
        dynamic_metadata=_struct(metadata),
    )


def body_reply(
    set_headers: Mapping[str, str],
    remove_headers: Iterable[str],
    metadata: Mapping[str, Any] | None,
    new_body: bytes | None = None,
) -> ProcessingResponse:
    """Answer to the body message. The body is sent back only when it changes, with its length, as Envoy wants it."""
    if new_body is not None:
        set_headers = {**set_headers, "content-length": str(len(new_body))}
    common = _common(set_headers, remove_headers)
    if new_body is not None:
        common.body_mutation.body = new_body
    return ProcessingResponse(request_body=BodyResponse(response=common), dynamic_metadata=_struct(metadata))


def empty_reply(kind: str) -> ProcessingResponse | None:
    """ "Go on" to a message that was not asked for, or None when its kind takes no reply."""
    if kind in ("request_headers", "response_headers"):
        return ProcessingResponse(**{kind: HeadersResponse()})
    if kind in ("request_body", "response_body"):
        return ProcessingResponse(**{kind: BodyResponse()})
    if kind in ("request_trailers", "response_trailers"):
        return ProcessingResponse(**{kind: TrailersResponse()})
    return None


def immediate_reply(status: int, headers: Mapping[str, str], body: bytes, details: str) -> ProcessingResponse:
    """An answer to the client in place of any pod's; `details` appears in access logs."""
    return ProcessingResponse(
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=status),
            headers=HeaderMutation(set_headers=_options(headers)),
            body=body,
            details=details,
        )
    )


def _common(set_headers: Mapping[str, str], remove_headers: Iterable[str]) -> CommonResponse:
    mutation = HeaderMutation(set_headers=_options(set_headers), remove_headers=remove_headers)
    return CommonResponse(header_mutation=mutation, clear_route_cache=True)


def _options(headers: Mapping[str, str]) -> list[HeaderValueOption]:
    return [HeaderValueOption(header=HeaderValue(key=k, raw_value=v.encode())) for k, v in headers.items()]


def _struct(metadata: Mapping[str, Any] | None) -> Struct | None:
    if metadata is None:
        return None
    struct = Struct()
    struct.update({METADATA_NAMESPACE: metadata})
    return struct
