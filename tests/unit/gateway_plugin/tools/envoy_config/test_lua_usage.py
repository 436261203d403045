"""gateway.lua: token usage, found in the first and last bytes of a response body."""

from __future__ import annotations

import gzip
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.gateway_plugin.tools.envoy_config.conftest import Script

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


def pieces(body: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes, in turn."""
    found: list[bytes] = []
    for size in itertools.cycle(sizes):
        if not body:
            return found
        found.append(body[:size])
        body = body[size:]
    return found


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
    "one odd number spoils all": ({"usage": {**CHAT, "prompt_tokens": "11"}}, {}),
    "too large": ({"usage": {**CHAT, "prompt_tokens": 10**16}}, {}),
    "no total": ({"usage": {"prompt_tokens": 11, "completion_tokens": 7}}, CHAT),
    "fractions that are no counts": ({"usage": {**CHAT, "total_time": 0.25, "list": [{"total_tokens": 1}]}}, CHAT),
    "audio": ({"text": "hi", "usage": {"type": "duration", "seconds": 3}}, {}),
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
    "comments": (b": ping\n\n" + sse(chunk("a"), {"usage": CHAT}, done=False) + b": ping\n\n: \n\n", CHAT),
    "an error at the end": (
        sse(chunk("a", usage=CHAT), done=False) + b'event: error\ndata: {"error": {"message": "oom"}}\n\n',
        CHAT,
    ),
    "data over several lines": (
        b'data: {"choices": [],\ndata:  "usage":\ndata: %s}\n\n' % json.dumps(CHAT).encode(),
        CHAT,
    ),
    "ids and retries": (b"retry: 3\nid: 1\n" + sse({"usage": CHAT}).replace(b"\n\n", b"\nid: 2\n\n"), CHAT),
    "responses without event names": (
        sse({"type": "response.created"}, {"type": "response.completed", "response": {"usage": RESPONSES}}, done=False),
        EXPECTED,
    ),
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


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_the_last_event_may_be_longer_than_the_tail(script: Script, done: bool, end: str) -> None:
    """A short answer may come in one event, with its usage."""
    body = sse(chunk("a"), {"choices": [{"text": 'x"{' * 3000}], "usage": CHAT}, end=end, done=done)
    assert script.usage(body, content_type=SSE) == CHAT


@pytest.mark.parametrize("padding", [10, 1900, 3000, 5000, 60_000])
@pytest.mark.parametrize("sizes", [[100_000], [300, 100_000], [30], [300, 20_000, 700]])
def test_usage_before_a_long_rest(script: Script, padding: int, sizes: list[int]) -> None:
    """As llama.cpp answers embeddings."""
    body = {"model": "m", "note": '"usage": {"', "usage": CHAT_CACHED, "data": [{"usage": RESPONSES}, "x" * padding]}
    assert script.usage(*pieces(json.dumps(body).encode(), sizes)) == EXPECTED


@pytest.mark.parametrize("sizes", [[100_000], [300, 100_000], [1], [30], [3000, 40_000, 700], [17_000]])
def test_what_is_kept_of_long_streams_is_their_beginning_and_end(script: Script, sizes: list[int]) -> None:
    start = {"type": "message_start", "message": {"usage": ANTHROPIC}}
    deltas = [{"type": "content_block_delta", "delta": {"text": FAKE * 3}}] * 200
    body = events(start, *deltas, {"type": "message_delta", "usage": {"output_tokens": 9}})
    expected = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30, "cached_tokens": 8}
    assert script.usage(*pieces(body, sizes), content_type=SSE) == expected


def test_usage_out_of_reach_is_not_guessed(script: Script) -> None:
    body = json.dumps({"choices": ["x" * 2500], "usage": CHAT, "data": ["x" * 5000]}).encode()
    assert script.usage(body) == {}
    impostor = json.dumps({"text": {"usage": CHAT}, "data": ["x" * 5000]}).encode()
    assert script.usage(impostor) == {}
    cut_by_the_engine = json.dumps({"usage": CHAT, "data": ["x" * 5000]}).encode()[:-1]
    assert script.usage(cut_by_the_engine) == {}


def test_many_nested_impostors_take_no_time(script: Script) -> None:
    """An engine may repeat what a client wrote; Envoy's worker must not count brackets anew for each of them."""
    tools: list[Any] = [{"usage": {}}] * 400
    body = json.dumps({"tools": tools, "usage": CHAT}, separators=(",", ":")).encode()
    started = time.perf_counter()
    for _ in range(20):
        assert script.usage(body) == CHAT
    assert time.perf_counter() - started < 1.0


TOOL_CALL = '{"path": "C:\\\\tmp", "text": "\\"usage\\": {\\"total_tokens\\": 9}", "unicode": "\u00e9\u4e16"}'


def tool_call(arguments: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": arguments}}]}}], "usage": None}


@pytest.mark.parametrize("repeats", [1, 100])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_tool_calls_with_escaped_quotes(script: Script, repeats: int, ensure_ascii: bool) -> None:
    documents = [tool_call(TOOL_CALL * repeats), tool_call("}" * repeats), {"choices": [], "usage": CHAT}]
    lines = [f"data: {json.dumps(document, ensure_ascii=ensure_ascii)}\n\n" for document in documents]
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    assert script.usage(*[body[i : i + 11] for i in range(0, len(body), 11)], content_type=SSE) == CHAT


def test_a_gzip_body_that_does_not_say_so_is_left_alone(script: Script) -> None:
    assert script.usage(gzip.compress(json.dumps({"usage": CHAT}).encode())) == {}


FIRST_OUTPUT = {
    "at once": ([b"data: {}\n\n"], 1),
    "empty chunks": ([b"", b"data: {}\n\n"], 2),
    "keep-alives": ([b": ping\n\n", b"event: ping\ndata: {}\n\n", b"data: {}\n\n"], 3),
    "a keep-alive and output": ([b': ping\n\ndata: {"delta": "a"}\n\n'], 1),
    "responses": (
        [
            b"event: response.created\ndata: {}\n\n",
            b"event: response.in_progress\ndata: {}\n\n",
            b"event: response.output_text.delta\ndata: {}\n\n",
        ],
        3,
    ),
    "nothing": ([b": ping\n\n"], None),
}


@pytest.mark.parametrize(("chunks", "number"), FIRST_OUTPUT.values(), ids=FIRST_OUTPUT)
def test_the_time_of_the_first_output_is_noted(script: Script, chunks: list[bytes], number: int | None) -> None:
    response = script.run(chunks, {"content-type": SSE}, {"request_id": "r1"})
    assert response.first_body_chunk == number


def test_only_streams_have_a_time_of_first_output(script: Script) -> None:
    response = script.run([b"{}"], {"content-type": "application/json"}, {"request_id": "r1"})
    assert response.first_body_chunk is None


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


def test_bodies_of_requests_the_plugin_did_not_see_are_left_alone(script: Script) -> None:
    body = json.dumps({"usage": CHAT}).encode()
    assert script.run([body], {"content-type": "application/json"}, None).usage == {}
