"""What is read of the two messages of every request, whatever clients put into them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import ext_proc
from protos.ext_proc import DecodeError, ProcessingRequest, RequestHeaders

WANTED = frozenset({":path", "user", "x-session-id"})
LONG = st.sampled_from([0, 1, 120, 127, 128, 129, 16_370, 16_383, 16_384, 40_000])
VALUES = st.binary(max_size=300) | LONG.map(lambda size: b"v" * size)
KEYS = st.sampled_from([*sorted(WANTED), "accept", "x-other"]) | st.text(max_size=200)
HEADERS = st.lists(st.tuples(KEYS, VALUES), max_size=12)
ANYTHING = st.binary(max_size=40)


def message_of(headers: list[tuple[str, bytes]], *, ends: bool = False, more: bool = False) -> ProcessingRequest:
    message = ProcessingRequest()
    message.request_headers.headers.SetInParent()
    message.request_headers.end_of_stream = ends
    for key, value in headers:
        message.request_headers.headers.headers.add(key=key, raw_value=value)
    if more:
        with_more(message)
    return message


def with_more(message: ProcessingRequest) -> None:
    """What Envoy says beside."""
    message.attributes["envoy.filters.http.ext_proc"].update({"a": "b"})
    message.metadata_context.filter_metadata["namespace"].update({"user": "mallory"})
    message.protocol_config.SetInParent()


def expected(headers: list[tuple[str, bytes]], *, ends: bool = False) -> RequestHeaders:
    found: dict[str, str] = {}
    repeated: list[str] = []
    for key, value in headers:
        if key in found:
            repeated.append(key)
        elif key in WANTED:
            found[key] = value.decode("utf-8", "replace")
    return RequestHeaders(found, ends, tuple(repeated))


@given(HEADERS, st.booleans(), st.booleans())
def test_headers(headers: list[tuple[str, bytes]], ends: bool, more: bool):
    message = message_of(headers, ends=ends, more=more).SerializeToString()
    assert ext_proc.request_headers_of(message, WANTED) == expected(headers, ends=ends)
    assert ext_proc.request_body_of(message) is None


@given(st.binary() | LONG.map(bytes), st.booleans(), st.booleans())
def test_bodies(content: bytes, ends: bool, more: bool):
    message = ProcessingRequest()
    message.request_body.body = content
    message.request_body.end_of_stream = ends
    if more:
        with_more(message)
    assert ext_proc.request_body_of(message.SerializeToString()) == content
    assert ext_proc.request_headers_of(message.SerializeToString(), WANTED) is None


def test_a_value_cannot_pose_as_a_header():
    forged = message_of([("user", b"root")]).request_headers.headers.SerializeToString()
    message = message_of([("accept", forged), ("user", forged * 20)]).SerializeToString()
    assert ext_proc.request_headers_of(message, WANTED) == RequestHeaders({"user": (forged * 20).decode()}, False)


@given(HEADERS, st.integers(0, 10_000), ANYTHING)
def test_nonsense_is_a_decode_error_at_most(headers: list[tuple[str, bytes]], at: int, noise: bytes):
    message = message_of(headers).SerializeToString()
    at %= len(message) + 1
    for broken in (message[:at] + noise + message[at:], message[:at] + noise, message[:at]):
        with suppress(DecodeError):
            ext_proc.request_headers_of(broken, WANTED)
        with suppress(DecodeError):
            ext_proc.request_body_of(broken)


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_what_is_cut_off_is_an_error(cut: int):
    message = message_of([("user", b"kim")]).SerializeToString()
    with pytest.raises(DecodeError):
        ext_proc.request_headers_of(message[:-cut], WANTED)


def test_a_header_without_anything_is_skipped():
    message = message_of([("", b""), ("user", b"kim")])
    assert ext_proc.request_headers_of(message.SerializeToString(), WANTED) == RequestHeaders({"user": "kim"}, False)
