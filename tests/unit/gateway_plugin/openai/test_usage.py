"""Token usage in responses that pass through the plugin; the very cases of the Lua filter, and random ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.openai.usage import MAX_EVENT_BYTES, MAX_JSON_BYTES, reader_for
from tests.unit.gateway_plugin.tools.envoy_config.test_lua_usage import CHAT, JSON_BODIES, STREAMS, chunk, sse


def read(body: bytes, content_type: str, size: int = 1 << 30) -> dict[str, int]:
    reader = reader_for(content_type, "")
    assert reader is not None
    for i in range(0, len(body), size):
        reader.feed(body[i : i + size])
    return reader.tokens()


@pytest.mark.parametrize(("body", "expected"), JSON_BODIES.values(), ids=JSON_BODIES)
@pytest.mark.parametrize("size", [1, 100_000])
def test_documents(body: object, expected: dict[str, int], size: int):
    assert read(json.dumps(body).encode(), "application/json; charset=utf-8", size) == expected


@pytest.mark.parametrize(("body", "expected"), STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_streams(body: bytes, expected: dict[str, int], size: int):
    assert read(body, "text/event-stream", size) == expected


def test_what_is_not_read():
    assert reader_for("text/html", "") is None
    assert reader_for("application/json", "gzip") is None
    assert read(b"\xff not json", "application/json") == {}


def test_memory_is_bounded_and_what_follows_is_read():
    long_line = b"data: " + b"x" * (MAX_EVENT_BYTES + 1)
    assert read(long_line + b"\n\n" + sse({"usage": CHAT}), "text/event-stream", 60_000) == CHAT
    assert read(b'{"a":"%s","usage":{"total_tokens":1}}' % (b"x" * MAX_JSON_BYTES), "application/json", 60_000) == {}


documents = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(['"usage":{"total_tokens":6}', "data: {}", "\r\n"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "usage", "type", "response", "message"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    noise=st.lists(documents, max_size=4), end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]), size=st.integers(1, 50)
)
def test_noise_before_the_usage_does_not_matter(noise: list[Any], end: str, size: int):
    around = [chunk("x", noise=document) for document in noise]
    assert read(sse(*around, {"choices": [], "usage": CHAT}, end=end), "text/event-stream", size) == CHAT
