"""gateway.lua: token usage, found in the first and last bytes of a response body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.envoy_config.conftest import Script

SSE = "text/event-stream"
CHAT = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
CHAT_CACHED = {**CHAT, "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0}}
RESPONSES = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 18,
}
ANTHROPIC = {"input_tokens": 11, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2, "output_tokens": 7}
EXPECTED = {**CHAT, "cached_tokens": 8}
EMBEDDING = {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
FAKE = '"usage":{"prompt_tokens":666,"completion_tokens":666,"total_tokens":1332}}'


def chunk(content: str = "", **members: object) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": content}}], **members}


def sse(*documents: object, end: str = "\n\n", done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(document)}{end}" for document in documents]
    return "".join([*lines, *(["data: [DONE]" + end] if done else [])]).encode()


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(f"event: {doc['type']}\n".encode() + sse(doc, done=False) for doc in documents)


JSON_BODIES = {
    "chat": ({**chunk("hi"), "usage": CHAT}, CHAT),
    "cached": ({**chunk("hi"), "usage": CHAT_CACHED, "kv_transfer_params": None}, EXPECTED),
    "details null": ({"usage": {**CHAT, "prompt_tokens_details": None}}, CHAT),
    "embeddings": (
        {"usage": {"prompt_tokens": 5, "total_tokens": 5}},
        {**dict.fromkeys(CHAT, 5), "completion_tokens": 0},
    ),
    "rerank": ({"usage": {"total_tokens": 5}, "results": []}, {"total_tokens": 5}),
    "responses": ({"output": [{"content": [{"text": "hi"}]}], "usage": RESPONSES, "user": None}, EXPECTED),
    "anthropic": (
        {"content": [{"text": "hi"}], "usage": ANTHROPIC},
        {"prompt_tokens": 21, "completion_tokens": 7, "total_tokens": 28, "cached_tokens": 8},
    ),
    "none": (chunk("hi"), {}),
    "null": ({"usage": None}, {}),
    "fractions": ({"usage": {"prompt_tokens": 1.5, "completion_tokens": 2, "total_tokens": 3.5}}, {}),
    "negative": ({"usage": {"input_tokens": -1, "output_tokens": 2}}, {}),
    "a list": ([{"usage": CHAT}], {}),
    "not the document's own": ({"tools": [{"properties": {"usage": CHAT}}]}, {}),
    "before an impostor": ({"usage": CHAT, "tools": [{"usage": RESPONSES}], "text": {"usage": RESPONSES}}, CHAT),
    "after an impostor": ({"tools": [{"usage": RESPONSES}], "text": {"usage": RESPONSES}, "usage": CHAT}, CHAT),
}


@pytest.mark.parametrize(("body", "expected"), JSON_BODIES.values(), ids=JSON_BODIES)
@pytest.mark.parametrize("indent", [None, 2])
def test_json(script: Script, body: object, expected: dict[str, int], indent: int | None) -> None:
    assert script.usage(json.dumps(body, indent=indent).encode()) == expected


STREAMS = {
    "last chunk": (sse(chunk("hi"), {"choices": [], "usage": CHAT_CACHED}), EXPECTED),
    "usage null until the end": (sse(chunk("a", usage=None), chunk(usage=None), {"choices": [], "usage": CHAT}), CHAT),
    "continuous": (sse(chunk("a", usage={**CHAT, "completion_tokens": 1}), chunk("b", usage=CHAT)), CHAT),
    "crlf": (sse(chunk("a"), {"choices": [], "usage": CHAT}, end="\r\n\r\n"), CHAT),
    "cr": (sse(chunk("a"), {"choices": [], "usage": CHAT}, end="\r\r"), CHAT),
    "no done": (sse(chunk("a"), {"choices": [], "usage": CHAT}, done=False), CHAT),
    "no final newline": (sse({"choices": [], "usage": CHAT}, done=False).rstrip(), CHAT),
    "compact": (b'data:{"choices":[],"usage":%s}\n\n' % json.dumps(CHAT, separators=(",", ":")).encode(), CHAT),
    "no usage": (sse(chunk("a"), chunk("b")), {}),
    "cut by the engine": (sse({"a": {"usage": CHAT}}, done=False).rstrip()[:-1], {}),
    "fake in the text": (sse(chunk(FAKE), chunk('\\"}],' + FAKE)), {}),
    "fake after the truth": (sse({"choices": [], "usage": CHAT}, chunk(FAKE)), CHAT),
    "fake event names": (sse(chunk("message_start"), chunk("event: response."), {"usage": CHAT}), CHAT),
    "responses": (
        events(
            {"type": "response.created", "response": {"usage": None}},
            {"type": "response.output_text.delta", "delta": FAKE},
            {"response": {"output": [], "usage": RESPONSES, "user": None}, "type": "response.completed"},
        ),
        EXPECTED,
    ),
    "anthropic": (
        events(
            {"type": "message_start", "message": {"content": [], "usage": {**ANTHROPIC, "output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"text": FAKE}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ),
        {"prompt_tokens": 21, "completion_tokens": 7, "total_tokens": 28, "cached_tokens": 8},
    ),
    "anthropic without a final count": (
        events(
            {"type": "message_start", "message": {"usage": ANTHROPIC}},
            {"type": "message_delta", "usage": {"input_tokens": 11}},
        ),
        {},
    ),
    "anthropic cut short": (events({"type": "message_start", "message": {"usage": ANTHROPIC}}), {}),
}


@pytest.mark.parametrize(("body", "expected"), STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_stream(script: Script, body: bytes, expected: dict[str, int], size: int) -> None:
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    assert script.usage(*chunks, content_type=f"{SSE}; charset=utf-8") == expected


@pytest.mark.parametrize("padding", [3900, 4096, 5000, 50_000])
def test_long_bodies(script: Script, padding: int) -> None:
    text = 'x"\\' * (padding // 3)
    assert script.usage(json.dumps({**chunk(text), "usage": CHAT}).encode()) == CHAT
    assert script.usage(json.dumps({"choices": [{"text": text, "usage": RESPONSES}], "usage": CHAT}).encode()) == CHAT
    assert script.usage(json.dumps({"choices": [text], "tools": [{"usage": CHAT}]}).encode()) == {}
    stream = sse(*[chunk(text[:50])] * (padding // 100), {"choices": [], "usage": CHAT})
    assert script.usage(stream, content_type=SSE) == CHAT


@pytest.mark.parametrize("shift", range(5))
def test_the_tail_may_begin_after_a_backslash(script: Script, shift: int) -> None:
    body = json.dumps({"text": '"\\' * 2000, "pad": "x" * shift, "usage": CHAT}).encode()
    assert script.usage(body) == CHAT


@pytest.mark.parametrize("padding", [10, 5000])
def test_the_final_responses_event_repeats_the_whole_output(script: Script, padding: int) -> None:
    output = [{"type": "message", "text": "x" * padding, "usage": CHAT}]
    completed = {"type": "response.completed", "response": {"output": output, "usage": RESPONSES, "metadata": {}}}
    stream = events({"type": "response.created", "response": {}}, completed)
    assert script.usage(stream, content_type=SSE) == EXPECTED


def test_usage_out_of_reach_is_not_guessed(script: Script) -> None:
    body = json.dumps({"usage": CHAT, "data": ["x" * 5000]}).encode()
    assert script.usage(body) == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json", ":status": "400"},
        {},
    ],
)
def test_bodies_left_alone(script: Script, headers: dict[str, str]) -> None:
    body = json.dumps({"usage": CHAT}).encode()
    assert script.run([body], headers, {"request_id": "r1"}).usage == {}


@pytest.mark.parametrize(("content_type", "streamed"), [("text/event-stream", True), ("application/json", False)])
def test_a_stream_is_told_even_when_it_names_no_usage(script: Script, content_type: str, streamed: bool) -> None:
    response = script.run([b"data: {}\n\n"], {"content-type": content_type}, {"request_id": "r1"})
    assert (response.usage, response.streamed) == ({}, streamed)


def test_bodies_of_requests_the_plugin_did_not_see_are_left_alone(script: Script) -> None:
    body = json.dumps({"usage": CHAT}).encode()
    assert script.run([body], {"content-type": "application/json"}, None).usage == {}
