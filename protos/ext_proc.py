"""ext_proc messages: what Envoy asks, as plain values, and the replies, serialized.

Header values travel in `raw_value` (a `value` arrives empty). What Envoy sends next: `processing_modes`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
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
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from protos.encoding import MAX_KEPT, before_struct, before_text, field, struct, tag, varint
from protos.processing_modes import MODE_OVERRIDES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from protos.encoding import Json
    from protos.processing_modes import Mode

METHOD_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD_NAME = "Process"
METADATA_NAMESPACE = "gateway_plugin"
"""Dynamic metadata that the plugin writes and the access log brings back; Envoy's configuration must allow it."""

_ATTRIBUTES = "envoy.filters.http.ext_proc"
_UPSTREAM = "upstream.address"

__all__ = ["DecodeError", "ProcessingRequest", "ProcessingResponse"]


def _serialized(message: ProcessingResponse) -> bytes:
    return bytes(message.SerializeToString())


_REQUEST_HEADERS = tag(ProcessingResponse.DESCRIPTOR, "request_headers")
_RESPONSE_HEADERS = tag(ProcessingResponse.DESCRIPTOR, "response_headers")
_REQUEST_BODY = tag(ProcessingResponse.DESCRIPTOR, "request_body")
_DYNAMIC_METADATA = tag(ProcessingResponse.DESCRIPTOR, "dynamic_metadata")
_HEADERS_COMMON = tag(HeadersResponse.DESCRIPTOR, "response")
_BODY_COMMON = tag(BodyResponse.DESCRIPTOR, "response")
_HEADER_MUTATION = tag(CommonResponse.DESCRIPTOR, "header_mutation")
_BODY_MUTATION = tag(CommonResponse.DESCRIPTOR, "body_mutation")
_NEW_BODY = tag(BodyMutation.DESCRIPTOR, "body")
_SET_HEADER = tag(HeaderMutation.DESCRIPTOR, "set_headers")
_REMOVE_HEADER = tag(HeaderMutation.DESCRIPTOR, "remove_headers")
_HEADER = tag(HeaderValueOption.DESCRIPTOR, "header")
_KEY = tag(HeaderValue.DESCRIPTOR, "key")
_RAW_VALUE = tag(HeaderValue.DESCRIPTOR, "raw_value")
_CLEAR_ROUTE_CACHE = bytes(CommonResponse(clear_route_cache=True).SerializeToString())


class Shared(NamedTuple):
    """What many replies say alike, serialized once: it goes before what one of them says alone."""

    set_headers: bytes = b""
    metadata: bytes = b""


_NOTHING_SHARED = Shared()


def shared(set_headers: Mapping[str, str], metadata: Mapping[str, Json]) -> Shared:
    """For replies that set these headers and this metadata, among others of other names."""
    return Shared(_mutation(set_headers, ()), struct(metadata))


def shared_of_pods(base: Shared, header: str, targets: str, entries: Iterable[bytes]) -> Shared:
    """The same, naming pods: their addresses in a header and as `targets`, and in `pods` what `pod_entry` says of
    each. An address may come twice."""
    pods = b"".join(entries)
    named = struct({"targets": targets}) + before_struct("pods", len(pods)) + pods
    return Shared(base.set_headers + _mutation({header: targets}, ()), base.metadata + named)


@lru_cache(MAX_KEPT)
def pod_entry(address: str, name: str) -> bytes:
    """One pod of the metadata's `pods`."""
    return struct({address: name})


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
            found[name] = _text_of(header)
    return RequestHeaders(found, headers.end_of_stream, repeated)


def request_body_of(message: bytes) -> bytes | None:
    """The buffered request body; None for another message. Raises DecodeError."""
    parsed = ProcessingRequest.FromString(message)
    return parsed.request_body.body if parsed.HasField("request_body") else None


def parsed(message: bytes) -> ProcessingRequest:
    """Any message; raises DecodeError."""
    return ProcessingRequest.FromString(message)


def kind_of(message: ProcessingRequest) -> str:
    """Which message this is: "request_headers", "request_body", ...; empty for none."""
    return message.WhichOneof("request") or ""


def response_headers_of(message: ProcessingRequest, wanted: frozenset[str]) -> dict[str, str]:
    """The wanted headers of a response, by lower-case name; a repeated header keeps its first value."""
    return _found(message.response_headers.headers.headers, wanted)


def response_ends_with_headers(message: ProcessingRequest) -> bool:
    """True when the response has no body."""
    return bool(message.response_headers.end_of_stream)


def response_chunk_of(message: ProcessingRequest) -> tuple[bytes, bool]:
    """The next bytes of a response, and whether they are its last."""
    return bytes(message.response_body.body), bool(message.response_body.end_of_stream)


def upstream_address_of(message: ProcessingRequest) -> str:
    """The "ip:port" that answers; empty where Envoy was not told to say so, and where nobody was reached."""
    fields = message.attributes[_ATTRIBUTES].fields if _ATTRIBUTES in message.attributes else {}
    return str(fields[_UPSTREAM].string_value) if _UPSTREAM in fields else ""


def headers_reply(
    set_headers: Mapping[str, str],
    remove_headers: Iterable[str],
    *,
    mode: Mode | None = None,
    metadata: Mapping[str, Json] | None = None,
    shared: Shared = _NOTHING_SHARED,
) -> bytes:
    """Answer to the header message; clears the route cache, because headers that select routes change."""
    response = field(_REQUEST_HEADERS, field(_HEADERS_COMMON, _changes(set_headers, remove_headers, shared)))
    return response + _mode_override(mode) + _metadata(metadata, shared)


def body_reply(
    set_headers: Mapping[str, str],
    remove_headers: Iterable[str],
    metadata: Mapping[str, Json] | None,
    new_body: bytes | None = None,
    shared: Shared = _NOTHING_SHARED,
) -> bytes:
    """Answer to the body message. The body is sent back only when it changes, with its length, as Envoy wants it."""
    if new_body is not None:
        changes = _changes({**set_headers, "content-length": str(len(new_body))}, remove_headers, shared)
        # All lengths first, so that a large body is copied once.
        before = _NEW_BODY + varint(len(new_body))
        before = _BODY_MUTATION + varint(len(before) + len(new_body)) + before
        length = len(changes) + len(before) + len(new_body)
        start = _BODY_COMMON + varint(length)
        start = _REQUEST_BODY + varint(len(start) + length) + start
        return b"".join((start, changes, before, new_body, _metadata(metadata, shared)))
    own = _mutation(set_headers, remove_headers)
    before = _before_body_changes(len(shared.set_headers) + len(own))
    return b"".join((before, shared.set_headers, own, _CLEAR_ROUTE_CACHE, _metadata(metadata, shared)))


def routed_reply(shared: Shared, request_id: str, user: str, charge_id: str, more: Mapping[str, Json]) -> bytes:
    """As `body_reply`, with the id as a header, and metadata of these three and more. What stands between the values
    follows from their lengths, which are the same for most requests."""
    request, name, charge = request_id.encode(), user.encode(), charge_id.encode()
    rest = struct(more) if more else b""
    headers, known = shared
    start, header, metadata, id_key, user_key, charge_key = _routed_frames(
        len(headers), len(known), len(request), len(name), len(charge), len(rest)
    )
    ids = (id_key, request, user_key, name, charge_key, charge)
    return b"".join((start, headers, header, request, metadata, known, *ids, rest))


def response_headers_reply(
    set_headers: Mapping[str, str], remove_headers: Iterable[str], *, mode: Mode | None = None
) -> bytes:
    """Answer to the headers of a response."""
    common = field(_HEADER_MUTATION, _mutation(set_headers, remove_headers))
    return field(_RESPONSE_HEADERS, field(_HEADERS_COMMON, common)) + _mode_override(mode)


GO_ON_WITH_RESPONSE = _serialized(ProcessingResponse(response_body=BodyResponse()))
"""Answer to a chunk of a response: it passes as it is."""


def response_chunk_reply(chunk: bytes) -> bytes:
    """Answer to a chunk of a response: these bytes go on in its place."""
    mutation = BodyMutation(body=chunk) if chunk else BodyMutation(clear_body=True)
    return _serialized(ProcessingResponse(response_body=BodyResponse(response=CommonResponse(body_mutation=mutation))))


def more_time(seconds: float) -> bytes:
    """Let Envoy wait so much longer for the answer to its last message, as far as its `max_message_timeout` allows."""
    timeout = Duration()
    timeout.FromMilliseconds(round(seconds * 1000))
    return _serialized(ProcessingResponse(override_message_timeout=timeout))


def empty_reply(kind: str) -> bytes | None:
    """ "Go on" to a message that was not asked for, or None when its kind takes no reply."""
    if kind in ("request_headers", "response_headers"):
        return _serialized(ProcessingResponse(**{kind: HeadersResponse()}))
    if kind in ("request_body", "response_body"):
        return _serialized(ProcessingResponse(**{kind: BodyResponse()}))
    if kind in ("request_trailers", "response_trailers"):
        return _serialized(ProcessingResponse(**{kind: TrailersResponse()}))
    return None


def immediate_reply(status: int, headers: Mapping[str, str], body: bytes, details: str) -> bytes:
    """An answer to the client in place of any pod's; `details` appears in access logs."""
    immediate = ImmediateResponse(status=HttpStatus(code=status), body=body, details=details)
    immediate.headers.MergeFromString(_mutation(headers, ()))
    return _serialized(ProcessingResponse(immediate_response=immediate))


def _text_of(header: HeaderValue) -> str:
    return str(header.raw_value or header.value.encode(), "utf-8", "replace")


def _found(headers: Iterable[HeaderValue], wanted: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers:
        key = header.key
        if key in wanted and key not in found:
            found[key] = _text_of(header)
    return found


def _changes(set_headers: Mapping[str, str], remove_headers: Iterable[str], shared: Shared) -> bytes:
    """A CommonResponse that makes Envoy look for a route again."""
    mutation = shared.set_headers + _mutation(set_headers, remove_headers)
    return field(_HEADER_MUTATION, mutation) + _CLEAR_ROUTE_CACHE


@lru_cache(MAX_KEPT)
def _before_body_changes(length: int) -> bytes:
    """An answer to the body as far as a HeaderMutation of that many bytes, after which only the route is cleared."""
    mutation = _HEADER_MUTATION + varint(length)
    common = len(mutation) + length + len(_CLEAR_ROUTE_CACHE)
    response = _BODY_COMMON + varint(common)
    return _REQUEST_BODY + varint(len(response) + common) + response + mutation


@lru_cache(MAX_KEPT)
def _routed_frames(headers: int, known: int, request: int, name: int, charge: int, rest: int) -> tuple[bytes, ...]:
    """What stands before each part of a `routed_reply`, by the lengths of its parts."""
    header = _before_header_value("x-request-id", request)
    keys = before_text("request_id", request), before_text("user", name), before_text("charge_id", charge)
    start = _before_body_changes(headers + len(header) + request)
    metadata = _before_metadata(known + sum(map(len, keys)) + request + name + charge + rest)
    return start, header, _CLEAR_ROUTE_CACHE + metadata, *keys


def _mutation(set_headers: Mapping[str, str], remove_headers: Iterable[str]) -> bytes:
    """A HeaderMutation."""
    parts: list[bytes] = []
    for name, value in set_headers.items():
        text = value.encode()
        parts += (_before_header_value(name, len(text)), text)
    for name in remove_headers:
        parts.append(field(_REMOVE_HEADER, name.encode()))
    return b"".join(parts)


@lru_cache(MAX_KEPT)
def _before_header_value(name: str, length: int) -> bytes:
    """What sets a header, as far as its value of that many bytes."""
    header = field(_KEY, name.encode()) + _RAW_VALUE + varint(length)
    option = _HEADER + varint(len(header) + length) + header
    return _SET_HEADER + varint(len(option) + length) + option


def _mode_override(mode: Mode | None) -> bytes:
    return MODE_OVERRIDES[mode] if mode is not None else b""


def _metadata(metadata: Mapping[str, Json] | None, shared: Shared) -> bytes:
    if metadata is None:
        return b""
    own = struct(metadata)
    return b"".join((_before_metadata(len(shared.metadata) + len(own)), shared.metadata, own))


@lru_cache(MAX_KEPT)
def _before_metadata(length: int) -> bytes:
    entry = before_struct(METADATA_NAMESPACE, length)
    return _DYNAMIC_METADATA + varint(len(entry) + length) + entry
