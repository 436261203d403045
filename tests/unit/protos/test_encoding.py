"""What is built by hand parses to the same messages as upb's own."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.ext_proc.v3.external_processor_pb2 import BodyResponse, HeadersResponse, TrailersResponse
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from protos import ext_proc
from protos.encoding import struct, varint
from protos.ext_proc import METADATA_NAMESPACE, ProcessingResponse
from protos.processing_modes import MODES, Mode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LEAVES = TEXT | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
JSON = st.recursive(LEAVES, lambda values: st.dictionaries(TEXT, values, max_size=4), max_leaves=10)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=8)
HEADERS = st.dictionaries(TEXT, TEXT, max_size=6)


def expected_struct(values: dict[str, Any]) -> Struct:
    message = Struct()
    message.update(values)
    return message


@given(OBJECTS)
def test_structs(values: dict[str, Any]):
    assert Struct.FromString(struct(values)) == expected_struct(values)


@given(st.integers(0, 2**70))
def test_varints(number: int):
    value, shift = 0, 0
    for byte in varint(number):
        value |= (byte & 0x7F) << shift
        shift += 7
    assert value == number
    assert varint(number)[-1] < 0x80


def common_of(
    answer: HeadersResponse | BodyResponse, changed: dict[str, str], removed: list[str], clears: bool
) -> None:
    """Builds the same with upb."""
    for key, value in changed.items():
        option = answer.response.header_mutation.set_headers.add()
        option.header.key, option.header.raw_value = key, value.encode()
    answer.response.header_mutation.remove_headers.extend(removed)
    answer.response.header_mutation.SetInParent()
    answer.response.clear_route_cache = clears


@given(HEADERS, st.lists(TEXT, max_size=4), st.none() | OBJECTS, st.none() | st.sampled_from(Mode))
def test_replies_to_headers(
    changed: dict[str, str], removed: list[str], metadata: dict[str, Any] | None, mode: Mode | None
):
    expected = ProcessingResponse()
    common_of(expected.request_headers, changed, removed, clears=True)
    if mode is not None:
        expected.mode_override.CopyFrom(MODES[mode])
    if metadata is not None:
        expected.dynamic_metadata.CopyFrom(expected_struct({METADATA_NAMESPACE: metadata}))
    built = ext_proc.headers_reply(changed, removed, mode=mode, metadata=metadata)
    assert ProcessingResponse.FromString(built) == expected


@given(HEADERS, st.lists(TEXT, max_size=4), st.none() | OBJECTS, st.none() | st.binary(max_size=300))
def test_replies_to_bodies(
    changed: dict[str, str], removed: list[str], metadata: dict[str, Any] | None, new_body: bytes | None
):
    expected = ProcessingResponse()
    if new_body is not None:
        changed = {**changed, "content-length": str(len(new_body))}
        expected.request_body.response.body_mutation.body = new_body
    common_of(expected.request_body, changed, removed, clears=True)
    if metadata is not None:
        expected.dynamic_metadata.CopyFrom(expected_struct({METADATA_NAMESPACE: metadata}))
    built = ext_proc.body_reply(changed, removed, metadata, new_body)
    assert ProcessingResponse.FromString(built) == expected


@given(HEADERS, HEADERS, OBJECTS, OBJECTS)
def test_what_replies_share_is_part_of_them(
    changed: dict[str, str], changed_by_all: dict[str, str], metadata: dict[str, Any], metadata_of_all: dict[str, Any]
):
    metadata_of_all = {name: value for name, value in metadata_of_all.items() if name not in metadata}
    shared = ext_proc.shared(changed_by_all, metadata_of_all)
    expected = ProcessingResponse()
    common_of(expected.request_body, changed_by_all, [], clears=True)
    common_of(expected.request_body, changed, [], clears=True)
    expected.dynamic_metadata.CopyFrom(expected_struct({METADATA_NAMESPACE: metadata_of_all | metadata}))
    assert ProcessingResponse.FromString(ext_proc.body_reply(changed, [], metadata, shared=shared)) == expected
    expected.request_headers.CopyFrom(HeadersResponse(response=expected.request_body.response))
    assert (
        ProcessingResponse.FromString(ext_proc.headers_reply(changed, [], metadata=metadata, shared=shared)) == expected
    )


@given(HEADERS, OBJECTS, TEXT, TEXT, TEXT, OBJECTS)
def test_replies_that_only_route(
    changed_by_all: dict[str, str],
    metadata_of_all: dict[str, Any],
    request_id: str,
    user: str,
    charge_id: str,
    more: dict[str, Any],
):
    shared = ext_proc.shared(changed_by_all, metadata_of_all)
    metadata = {"request_id": request_id, "user": user, "charge_id": charge_id}
    more = {name: value for name, value in more.items() if name not in metadata}
    plain = ext_proc.body_reply({"x-request-id": request_id}, (), metadata | more, shared=shared)
    assert ext_proc.routed_reply(shared, request_id, user, charge_id, more) == plain


@given(HEADERS, st.lists(TEXT, max_size=4), st.none() | st.sampled_from(Mode))
def test_replies_to_response_headers(changed: dict[str, str], removed: list[str], mode: Mode | None):
    expected = ProcessingResponse()
    common_of(expected.response_headers, changed, removed, clears=False)
    if mode is not None:
        expected.mode_override.CopyFrom(MODES[mode])
    assert ProcessingResponse.FromString(ext_proc.response_headers_reply(changed, removed, mode=mode)) == expected


@given(st.integers(200, 599), HEADERS, st.binary(max_size=200), TEXT)
def test_immediate_replies(status: int, headers: dict[str, str], body: bytes, details: str):
    parsed = ProcessingResponse.FromString(ext_proc.immediate_reply(status, headers, body, details)).immediate_response
    assert (parsed.status.code, parsed.body, parsed.details) == (status, body, details)
    assert {o.header.key: o.header.raw_value.decode() for o in parsed.headers.set_headers} == headers


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response_headers", ProcessingResponse(response_headers=HeadersResponse())),
        ("request_body", ProcessingResponse(request_body=BodyResponse())),
        ("response_trailers", ProcessingResponse(response_trailers=TrailersResponse())),
    ],
)
def test_empty_replies(kind: str, expected: ProcessingResponse):
    built = ext_proc.empty_reply(kind)
    assert built is not None
    assert ProcessingResponse.FromString(built) == expected
    assert ext_proc.empty_reply("something else") is None
