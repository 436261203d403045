"""Some hundred forms of requests that clients send to engines: right ones, odd ones and wrong ones."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Body = dict[str, Any]
CHAT = "/v1/chat/completions"
MODEL = "$MODEL"
"""In bodies, for the name that is to be put there."""
SHORT = {"max_tokens": 3}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 20}}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


class Form(NamedTuple):
    name: str
    path: str
    body: bytes


def _user(content: Any) -> Body:
    return {"role": "user", "content": content}


CONTENTS: dict[str, list[Body]] = {
    "text": [_user("Hello")],
    "no text": [_user("")],
    "parts": [_user([{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}])],
    "picture": [_user([{"type": "text", "text": "What is it?"}, PICTURE])],
    "system": [{"role": "system", "content": "Be brief."}, _user("Hello")],
    "turns": [_user("Hello"), {"role": "assistant", "content": "Hi"}, _user("Bye")],
    "tool call": [
        _user("Hello"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ],
    "unicode": [_user("Привет, 世界 \U0001f600 \u0000 \u2028")],
    "looks like usage": [_user('data: {"choices":[],"usage":{"total_tokens":1}}\n\n')],
    "long": [_user("word " * 2000)],
    "names": [_user("Hi") | {"name": "ann"}],
}
STREAMS: dict[str, Body] = {
    "whole": {},
    "stream false": {"stream": False},
    "stream null": {"stream": None},
    "stream": {"stream": True},
    "options null": {"stream": True, "stream_options": None},
    "options empty": {"stream": True, "stream_options": {}},
    "usage": {"stream": True, "stream_options": {"include_usage": True}},
    "no usage": {"stream": True, "stream_options": {"include_usage": False}},
    "usage null": {"stream": True, "stream_options": {"include_usage": None}},
    "usage all along": {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    "other options": {"stream": True, "stream_options": {"include_obfuscation": False}},
}
EXTRAS: dict[str, Body] = {
    "sampling": {"temperature": 0.2, "top_p": 0.9, "seed": 7, "stop": ["x"], "presence_penalty": 0.1},
    "tools": {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
    "choices": {"n": 3},
    "completion tokens": {"max_completion_tokens": 2},
    "both limits": {"max_tokens": 5, "max_completion_tokens": 2},
    "no limit but itself": {"max_tokens": None},
    "unknown fields": {"foo": {"bar": [1, {"model": "other", "stream": True}]}, "metadata": {"a": "b"}},
    "salt": {"cache_salt": "s"},
    "user field": {"user": "somebody"},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "minimum": {"min_tokens": 2, "ignore_eos": True},
}
WRONG: dict[str, Body] = {
    "max_tokens 0": {"max_tokens": 0},
    "max_tokens -1": {"max_tokens": -1},
    "max_tokens too large": {"max_tokens": 10**6},
    "n 0": {"n": 0},
    "n 1000": {"n": 1000},
    "no messages": {"messages": []},
    "messages null": {"messages": None},
    "messages a text": {"messages": "hello"},
    "a message of a number": {"messages": [7]},
    "content a number": {"messages": [_user(7)]},
}
PROMPTS: dict[str, Any] = {
    "text": "Hello",
    "texts": ["Hello", "there", "you"],
    "tokens": [1, 2, 3, 4],
    "lists of tokens": [[1, 2], [3, 4, 5]],
    "long": "word " * 2000,
    "unicode": "\U0001f600 \u4e16",
}
INPUTS: dict[str, Any] = {
    "text": "Hello",
    "items": [{"role": "user", "content": "Hello"}],
    "parts": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
    "tool output": [{"role": "user", "content": "a"}, {"type": "function_call_output", "call_id": "c", "output": "42"}],
}


def forms() -> list[Form]:
    """All of them, each with a name of its own."""
    return [*_chat(), *_completions(), *_lenient(), *_responses(), *_messages(), *_reading(), *_written()]


def _form(name: str, path: str, body: Body) -> Form:
    return Form(name, path, json.dumps({"model": MODEL} | body).encode())


def _chat() -> Iterator[Form]:
    for (content, messages), (stream, options) in itertools.product(CONTENTS.items(), STREAMS.items()):
        yield _form(f"chat, {content}, {stream}", CHAT, {"messages": messages} | SHORT | options)
    for (extra, fields), stream in itertools.product(EXTRAS.items(), ("whole", "stream", "usage", "no usage")):
        yield _form(f"chat, {extra}, {stream}", CHAT, {"messages": CONTENTS["text"]} | SHORT | fields | STREAMS[stream])
    for (wrong, fields), stream in itertools.product(WRONG.items(), ("whole", "stream")):
        yield _form(f"chat, {wrong}, {stream}", CHAT, {"messages": CONTENTS["text"]} | fields | STREAMS[stream])


def _completions() -> Iterator[Form]:
    for (prompt, value), (stream, options) in itertools.product(PROMPTS.items(), STREAMS.items()):
        yield _form(f"completion, {prompt}, {stream}", "/v1/completions", {"prompt": value} | SHORT | options)
    for wrong, value in {"nothing": None, "an empty text": "", "an empty list": [], "mixed": ["a", 1]}.items():
        yield _form(f"completion, {wrong}", "/v1/completions", {"prompt": value} | SHORT)
    yield _form("completion, choices", "/v1/completions", {"prompt": "Hello", "n": 2, "best_of": 2} | SHORT)


def _lenient() -> Iterator[Form]:
    """What is not as documented, and what engines take all the same."""
    text: Body = {"messages": CONTENTS["text"]}
    for stream in ("whole", "stream"):
        yield _form(f"chat, a limit in quotes, {stream}", CHAT, text | {"max_tokens": "3"} | STREAMS[stream])
    yield _form("chat, stream false in quotes", CHAT, text | SHORT | {"stream": "false"})
    yield _form("chat, half an emoji", CHAT, {"messages": [_user("cut \ud83d")]} | SHORT)
    yield _form("embedding of messages", "/v1/embeddings", text)


def _responses() -> Iterator[Form]:
    for (name, value), stream in itertools.product(INPUTS.items(), (False, True)):
        body = {"input": value, "max_output_tokens": 3, "stream": stream}
        yield _form(f"response, {name}, stream {stream}", "/v1/responses", body)
        yield _form(f"response, {name}, instructed, {stream}", "/v1/responses", body | {"instructions": "Be brief."})
    yield _form("response, not kept", "/v1/responses", {"input": "Hello", "store": False, "max_output_tokens": 3})
    yield _form("response, no input", "/v1/responses", {"input": ""})


def _messages() -> Iterator[Form]:
    for (name, messages), stream in itertools.product(CONTENTS.items(), (False, True)):
        yield _form(
            f"message, {name}, stream {stream}", "/v1/messages", {"messages": messages, "stream": stream} | SHORT
        )
    yield _form("message, system", "/v1/messages", {"messages": CONTENTS["text"], "system": "Be brief."} | SHORT)
    yield _form("message, wrong", "/v1/messages", {"messages": [_user(7)]} | SHORT)
    for content in ("text", "system", "turns"):
        yield _form(f"count, {content}", "/v1/messages/count_tokens", {"messages": CONTENTS[content]})


def _reading() -> Iterator[Form]:
    for name, value in PROMPTS.items():
        yield _form(f"embedding, {name}", "/v1/embeddings", {"input": value})
    yield _form("embedding, base64", "/v1/embeddings", {"input": "a", "encoding_format": "base64", "dimensions": 8})
    yield _form("embedding, too many dimensions", "/v1/embeddings", {"input": "a", "dimensions": 10**6})
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        yield _form(f"rerank, {path}", path, {"query": "a", "documents": ["b", "c"]})
    yield _form("tokens of a text", "/tokenize", {"prompt": "Hello"})
    yield _form("tokens of a chat", "/tokenize", {"messages": CONTENTS["turns"]})
    yield _form("tokens back", "/detokenize", {"tokens": [1, 2, 3]})
    yield _form("rerank, top", "/v1/rerank", {"query": "a", "documents": ["b", "c"], "top_n": 1})
    yield _form("score", "/v1/score", {"text_1": "a", "text_2": ["b", "c"]})
    yield _form("classify", "/v1/classify", {"input": ["a", "b"]})
    yield _form("image", "/v1/images/generations", {"prompt": "a cat", "n": 2})


def _written() -> Iterator[Form]:
    """Bodies as they are written, not only what they say."""
    path, plain = CHAT, {"model": MODEL, "messages": CONTENTS["unicode"], "stream": True} | SHORT
    yield Form("written with spaces", path, json.dumps(plain, indent=4, ensure_ascii=False).encode())
    yield Form("written without", path, json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode())
    yield Form("blanks around", path, b" \r\n\t" + json.dumps(plain).encode() + b"\n\n")
    yield Form("escaped keys", path, json.dumps(plain).replace('"stream"', '"str\\u0065am"').encode())
    yield Form("options first", path, json.dumps({"stream_options": {}} | plain).encode())
