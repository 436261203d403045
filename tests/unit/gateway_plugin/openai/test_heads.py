"""Request heads: what is read, and which mistakes are named how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.errors import ApiError, error_body
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.prompt import read_json_prompt

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def read(kind: BodyKind, body: Any) -> RequestHead:
    return read_json_prompt(kind, body if isinstance(body, bytes) else json.dumps(body).encode())[0]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (BodyKind.CHAT, CHAT),
        (BodyKind.COMPLETION, {"model": "m", "prompt": "a"}),
        (BodyKind.COMPLETION, {"model": "m", "prompt": ["a", "b"]}),
        (BodyKind.COMPLETION, {"model": "m", "prompt": [1, 2]}),
        (BodyKind.EMBEDDING, {"model": "m", "input": "a", "stream": False}),
        (BodyKind.EMBEDDING, {"model": "m", "input": [[1, 2], [3]]}),
        (BodyKind.RESPONSES, {"model": "m", "input": [{"role": "user", "content": "a"}]}),
        (BodyKind.RERANK, {"model": "m", "query": "q", "documents": ["a"]}),
        (BodyKind.CLASSIFY, {"model": "m", "input": ["a"]}),
        (BodyKind.PLAIN, {"model": "m", "text_1": "a", "text_2": "b"}),
    ],
)
def test_every_kind_of_body_gives_its_model(kind: BodyKind, body: dict[str, Any]):
    assert read(kind, body) == RequestHead("m", stream=False)
    assert read(kind, body | {"stream": None}) == RequestHead("m", stream=False)


def test_stream_is_read():
    for truth in (True, "true", "True", 1, "1", "yes", "on", 1.0):
        assert read(BodyKind.CHAT, CHAT | {"stream": truth}) == RequestHead("m", stream=True)
    for lie in (False, None, "false", "False", 0, "0", "no", "off", 0.0):
        assert read(BodyKind.CHAT, CHAT | {"stream": lie}) == RequestHead("m", stream=False)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"", "the request body is empty", None),
        (b"  ", "error processing request body: Input data was truncated", None),
        (b'{"model": "m", ', "error processing request body: Input data was truncated", None),
        (b'{"model": "m", "messages": [', "error processing request body: Input data was truncated", None),
        (b'{"model": m}', "error processing request body: JSON is malformed", None),
        (b'{"model": "m"} {}', "error processing request body: JSON is malformed", None),
        (b'{"model": "m" "n": 1}', "error processing request body: JSON is malformed", None),
        (b'{"model" "m"}', "error processing request body: JSON is malformed", None),
        (b"[1]", "error processing request body: Expected object, got array", None),
        (b'{"model": "\xff"}', "'model': expected a string", "model"),
        (b'{"model": "\\ud83d"}', "'model': expected a string", "model"),
        ({"messages": [1]}, "'model' is a required property", "model"),
        ({"model": "", "messages": [1]}, "'model' is a required property", "model"),
        ({"model": None, "messages": [1]}, "'model' is a required property", "model"),
        ({"model": 3, "messages": [1]}, "'model': expected a string", "model"),
        ({"model": "m" * 2000}, "'model' is longer than 1024 bytes", "model"),
        (CHAT | {"stream": "perhaps"}, "'stream': expected a boolean", "stream"),
        (CHAT | {"stream": [0] * 1000}, "'stream': expected a boolean", "stream"),
        ({f"k{n}": n for n in range(2000)}, "error processing request body: more than 1024 members", None),
    ],
)
def test_mistakes_are_named(body: Any, message: str, param: str | None):
    with pytest.raises(ApiError) as caught:
        read(BodyKind.CHAT, body)
    assert caught.value.message.startswith(message)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (BodyKind.CHAT, {"model": "m"}),
        (BodyKind.CHAT, {"model": "m", "messages": []}),
        (BodyKind.CHAT, CHAT | {"max_tokens": ["secret"], "cache_salt": 7, "n": {}}),
        (BodyKind.COMPLETION, {"model": "m"}),
        (BodyKind.EMBEDDING, {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        (BodyKind.EMBEDDING, {"model": "m", "input": 7, "stream": "false"}),
        (BodyKind.RERANK, {"model": "m", "documents": "a"}),
    ],
)
def test_what_decides_nothing_is_for_the_engine_to_judge(kind: BodyKind, body: dict[str, Any]):
    assert read(kind, body) == RequestHead("m", stream=False)


def test_error_shape():
    assert json.loads(error_body(429, 'a "b"', code="c", param=None)) == {
        "error": {"message": 'a "b"', "type": "rate_limit_error", "param": None, "code": "c"}
    }
