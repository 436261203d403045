"""Prompts of request bodies: what makes two keys begin alike, and what sets them apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.prompt import Prompt, read_json_prompt
from routing.prefix.prefix_blocks import prefix_keys, prefix_seed

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
DATA_URL = "data:image/png;base64," + "iVBORw0KGgo+/A=" * 1000

texts = st.text(max_size=30) | st.integers(0, 9000).map(lambda count: "data:image/png;base64," + "abc" * count)
contents = texts | st.lists(st.fixed_dictionaries({"type": st.just("image_url"), "data": texts}), max_size=3)
messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": contents}), min_size=1)


def prompt(kind: BodyKind, body: Any) -> Prompt:
    return read_json_prompt(kind, body if isinstance(body, bytes) else json.dumps(body).encode())[1]


def key(kind: BodyKind, body: Any) -> bytes:
    return prompt(kind, body).key


def chat(*contents: Any, **fields: Any) -> bytes:
    return key(BodyKind.CHAT, {"model": "m", "messages": [{"role": "user", "content": c} for c in contents]} | fields)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (BodyKind.CHAT, CHAT, b'\0\0[{"role": "user", "content": "hi"}'),
        (BodyKind.CHAT, {"messages": [1, 2], "system": "s", "tools": [3], "model": "m"}, b'[3]\0"s"\0[1, 2'),
        (BodyKind.COMPLETION, {"model": "m", "prompt": "abc"}, b'"abc'),
        (BodyKind.COMPLETION, {"model": "m", "prompt": [1, 2]}, b"[1, 2"),
        (BodyKind.EMBEDDING, {"model": "m", "input": "abc"}, b'\0\0\0"abc'),
        (BodyKind.EMBEDDING, {"model": "m", "messages": [1]}, b"\0\0[1"),
        (BodyKind.CLASSIFY, {"model": "m", "input": ["a", "b"]}, b'\0\0\0["a", "b"'),
        (BodyKind.RESPONSES, {"model": "m", "input": "q", "instructions": "i", "tools": [{}]}, b'[{}]\0"i"\0"q'),
        (BodyKind.RERANK, {"model": "m", "documents": ["a", "b"], "query": "q"}, b'"q"\0["a", "b"'),
        (BodyKind.PLAIN, {"model": "m", "text_1": "a"}, b""),
    ],
)
def test_the_key_of_every_kind_of_body(kind: BodyKind, body: dict[str, Any], expected: bytes):
    assert prompt(kind, body) == Prompt(expected, "", None)
    assert prompt(kind, body).tokens == len(expected) / 4


def test_head_and_prompt_come_from_one_reading():
    body = json.dumps(CHAT | {"stream": True}).encode()
    assert read_json_prompt(BodyKind.CHAT, body)[0] == RequestHead("m", stream=True)


@given(messages, messages)
def test_a_conversation_begins_the_key_of_its_continuation(before: list[Any], after: list[Any]):
    assert chat_key(before + after).startswith(chat_key(before))


def chat_key(messages: list[Any]) -> bytes:
    return key(BodyKind.CHAT, {"model": "m", "messages": messages})


@given(st.text(min_size=1), st.text(), st.sampled_from([None, 2]))
def test_longer_strings_and_arrays_begin_with_shorter_ones(before: str, after: str, indent: int | None):
    for kind, field in ((BodyKind.COMPLETION, "prompt"), (BodyKind.RESPONSES, "input")):
        for short, long in ((before, before + after), ([before], [before, after]), ([1, 2], [1, 2, 3])):
            keys = [
                key(kind, json.dumps({"model": "m", field: value}, indent=indent).encode()) for value in (short, long)
            ]
            assert keys[1].startswith(keys[0])


def test_white_space_around_the_messages_does_not_matter():
    wide = b'{ "model" : "m", "messages" :\n [{"a":1},{"b":2}\n ]\t}'
    assert key(BodyKind.CHAT, wide) == key(BodyKind.CHAT, b'{"messages":[{"a":1},{"b":2}],"model":"m"}')


def test_whatever_the_engine_renders_sets_keys_apart():
    tool = [{"type": "function", "function": {"name": "f"}}]
    bodies = [
        CHAT,
        CHAT | {"messages": [{"role": "system", "content": "hi"}]},
        CHAT | {"messages": [{"role": "user", "name": "kim", "content": "hi"}]},
        CHAT | {"messages": [{"role": "user", "content": "hi", "tool_calls": []}]},
        CHAT | {"tools": tool},
        CHAT | {"tools": tool * 2},
        CHAT | {"system": "hi"},
        CHAT | {"system": "hi", "tools": tool},
        CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,a"}}]}]},
    ]
    assert len({key(BodyKind.CHAT, body) for body in bodies}) == len(bodies)


def test_what_the_engine_does_not_render_does_not():
    assert key(BodyKind.CHAT, CHAT | {"temperature": 1, "user": "kim", "stream": True, "seed": 5}) == chat("hi")


def test_hashes_differ_by_model_and_salt_and_agree_on_the_shared_beginning():
    short, long = chat("a" * 600, system="s" * 600), chat("a" * 600, "b" * 600, system="s" * 600)
    hashes = prefix_keys(prefix_seed("m"), short).hashes
    assert len(hashes) >= 4
    assert prefix_keys(prefix_seed("m"), long).hashes[: len(hashes)] == hashes
    for seed in (prefix_seed("n"), prefix_seed("m", cache_salt="s"), prefix_seed("m", adapter="s")):
        assert not set(prefix_keys(seed, short).hashes) & set(hashes)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": None}, 7),
        ({"max_tokens": 7.0}, 7),
        ({"max_tokens": None}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": "100"}, 100),
        ({"max_tokens": 7, "max_completion_tokens": 5}, 7),
        ({"max_tokens": 10**400}, 10**9),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": ["1" * 100]}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "1e999"}, 10**9),
        ({"max_tokens": "nan"}, None),
    ],
)
def test_the_clients_limit(fields: dict[str, Any], expected: int | None):
    assert prompt(BodyKind.CHAT, CHAT | fields).max_output_tokens == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": "3"}, 3),
        ({"best_of": 4}, 4),
        ({"n": 2, "best_of": 4}, 4),
        ({"n": None}, 1),
        ({"n": -7}, 1),
        ({"n": 10**30}, 10**9),
    ],
)
def test_choices(fields: dict[str, Any], expected: int):
    assert prompt(BodyKind.CHAT, CHAT | fields).choices == expected
    assert prompt(BodyKind.COMPLETION, {"model": "m", "prompt": "a"} | fields).choices == expected
    assert prompt(BodyKind.EMBEDDING, {"model": "m", "input": "a"} | fields).choices == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", 1),
        (["a"], 1),
        (["a"] * 500, 500),
        (['["', "\\", '"', "b,"], 4),
        ([1, 2, 3], 1),
        ([[1, 2], [3]], 2),
        ([], 1),
        ([{"prompt_embeds": "a"}, {"prompt_embeds": "b"}], 2),
        (None, 1),
    ],
)
def test_the_number_of_prompts(text: Any, expected: int):
    assert prompt(BodyKind.COMPLETION, {"model": "m", "prompt": text}).prompts == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt_embeds": "QQ=="}, 1),
        ({"prompt_embeds": ["QQ=="] * 300}, 300),
        ({"prompt_embeds": ["QQ=="] * 2, "prompt": "a"}, 3),
        ({"prompt_embeds": ["QQ=="] * 2, "prompt": ["a", "b"]}, 4),
    ],
)
def test_prompts_that_come_as_vectors_are_prompts(fields: dict[str, Any], expected: int):
    assert prompt(BodyKind.COMPLETION, {"model": "m"} | fields).prompts == expected


@given(st.lists(st.text(alphabet='\\"a,[', max_size=6), min_size=1))
def test_no_prompt_is_missed(prompts: list[str]):
    assert prompt(BodyKind.COMPLETION, {"model": "m", "prompt": prompts}).prompts >= len(prompts)


def test_the_limit_of_a_response_has_its_own_name():
    assert prompt(BodyKind.RESPONSES, {"model": "m", "input": "a", "max_output_tokens": 5}).max_output_tokens == 5


@pytest.mark.parametrize(
    ("salt", "expected"), [("s", "s"), ("", ""), (None, ""), ("s" * 2000, "766419342e158afed33f81c8f6e1fde8")]
)
def test_the_cache_salt(salt: str | None, expected: str):
    assert prompt(BodyKind.CHAT, CHAT | {"cache_salt": salt}).cache_salt == expected


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "image", "source": {"type": "base64", "data": DATA_URL[22:]}},
        {"type": "input_audio", "input_audio": {"data": DATA_URL[22:], "format": "wav"}},
    ],
)
def test_media_count_the_same_whatever_their_size(part: dict[str, Any]):
    whole = json.dumps(part)
    larger = json.loads(whole.replace("iVBO", "iVBOiVBO"))
    other = json.loads(whole.replace("A=", "B="))
    keys = [chat("x" * 700, [content], "y" * 700) for content in (part, larger, other)]
    assert len(set(keys)) == 3
    assert {len(key) for key in keys} == {len(keys[0])}
    assert 4096 < len(keys[0]) < 4096 + 2000


@pytest.mark.parametrize("text", ["x" * 20_000, "data:" + "a b" * 9000, '"data:' + "x" * 3000, "1," * 9000])
def test_text_counts_whole(text: str):
    assert json.dumps(text).encode() in chat(text)


def test_small_media_stay_as_they_are():
    assert DATA_URL[:4096].encode() in chat([{"type": "image_url", "image_url": {"url": DATA_URL[:4096]}}])
