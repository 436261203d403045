"""The fields of a body: whatever its form, one reading, and never two that differ."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import asdict

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.openai.members import MAX_MEMBERS, members, with_value
from gateway_plugin.openai.prompt import Fields, read_fields, read_json_prompt
from gateway_plugin.openai.stream_usage import asks_for_usage, with_usage

DECIDING = Fields.__struct_fields__
# As space before the object it makes any body one that is walked.
FILL = b" " * 256 * 1024
LONG = ("messages", "tools", "prompt")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["model", "messages", "stream", "max_tokens", "n", "prompt", "temperature", "é", 'a"b', "x" * 300]
)
objects = st.dictionaries(names, values)
layouts = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(objects, layouts)
def test_members_are_where_json_finds_them(body: dict[str, Any], layout: dict[str, Any]):
    text = json.dumps(body, **layout).encode("utf-8", "surrogatepass")
    found = [(name, json.loads(text[start:end])) for name, start, end in members(text)]
    assert found == [(name.encode() if len(name) < 256 else b"", value) for name, value in body.items()]
    for _, start, end in members(text):
        assert text[start:end] == text[start:end].strip()


@given(objects, layouts)
def test_small_bodies_and_large_ones_are_read_alike(body: dict[str, Any], layout: dict[str, Any]):
    text = json.dumps({"model": "m", "stream": False, **body}, **layout).encode("utf-8", "surrogatepass")
    assert outcome(text) == outcome(FILL + text)


def outcome(body: bytes) -> Any:
    try:
        fields, _ = read_fields(body, LONG)
    except ApiError as error:
        return error.body
    said = {name: bytes(value) if isinstance(value, Raw) else value for name, value in asdict(fields).items()}
    return said | {"stream": fields.stream is True}


@given(objects, st.sampled_from(list(BodyKind)))
def test_prompts_of_small_bodies_and_of_large_ones_are_alike(body: dict[str, Any], kind: BodyKind):
    if kind in (BodyKind.MULTIPART, BodyKind.SCORE):  # of scores the whole body counts
        return
    text = json.dumps(body | {"model": "m", "stream": True}).encode()
    assert read_json_prompt(kind, text) == read_json_prompt(kind, FILL + text)


@pytest.mark.parametrize("name", DECIDING)
@pytest.mark.parametrize("fill", [b"", FILL])
@pytest.mark.parametrize("spelled", ["{}", "\\u00{:x}{}"])
def test_a_field_that_decides_stands_once(name: str, fill: bytes, spelled: str):
    other = spelled.format(name) if spelled == "{}" else spelled.format(ord(name[0]), name[1:])
    body = fill + b'{"%b": "a", "x": {"%b": 1}, "%b": "b"}' % (name.encode(), name.encode(), other.encode())
    with pytest.raises(ApiError) as caught:
        read_fields(body, LONG)
    assert (caught.value.status, caught.value.param) == (400, name)
    assert caught.value.message == f"'{name}' stands more than once in the request body"


def test_the_same_name_further_down_is_another():
    body = b'{"x": {"model": "b"}, "model": "m", "messages": [{"model": "c", "content": "\\"model\\""}]}'
    for fill in (b"", FILL):
        assert read_fields(fill + body, LONG)[0].model == "m"


def test_long_bodies_are_read_alike_with_and_without_escapes():
    long = "x" * (1 << 20)
    for text in (long, long + "\u00e9", "\u00e9" + long, "\\u" + long + "\\\\ud83d"):
        body = json.dumps({"model": "m\u00e9", "messages": [text], "cache_salt": "s"}).encode()
        body = body.replace(b"cache_salt", b"cache_s\\u0061lt")
        fields, spans = read_fields(body, LONG)
        found, start, end = spans["messages"]
        assert (fields.model, fields.cache_salt) == ("m\u00e9", "s")
        assert json.loads(found[start:end]) == [text]
    cut = body.replace(b"x" * 9, b"x\\uD83Dxx", 1)
    assert read_fields(cut, LONG)[0].model == "m\u00e9", "half an emoji"


@pytest.mark.parametrize("half", ["\\ud83d", "\\udE00", "\\uD83Dx", "\\ude00\\ud83d"])
@pytest.mark.parametrize("fill", [b"", FILL])
def test_half_an_emoji_passes(half: str, fill: bytes):
    body = fill + b'{"model": "m", "x": "%b", "messages": [{"content": "cut %b"}], "%b": 1}' % ((half.encode(),) * 3)
    head, prompt = read_json_prompt(BodyKind.CHAT, body)
    assert head.model == "m"
    assert half.encode() in prompt.key


def test_a_byte_order_mark_passes():
    assert read_fields(b'\xef\xbb\xbf {"model": "m"}', LONG)[0].model == "m"


def test_as_many_members_as_there_may_be():
    body = b"{%b}" % b",".join(b'"%d":0' % n for n in range(MAX_MEMBERS))
    assert len(list(members(body))) == MAX_MEMBERS
    with pytest.raises(ApiError, match="more than 1024 members"):
        list(members(body[:-1] + b',"x":1}'))


@given(objects, values)
def test_another_value_changes_nothing_else(body: dict[str, Any], value: Any):
    before = json.dumps(body | {"model": "m"}).encode()
    assert json.loads(with_value(before, "model", json.dumps(value).encode())) == body | {"model": value}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b'{"include_usage":false,"x":[1, 2]}', b'{"include_usage":true,"x":[1, 2]}'),
        (b"{}", b'{"include_usage":true}'),
        (b"null", b'{"include_usage":true}'),
    ],
)
def test_usage_is_asked_for_where_options_stand(options: bytes, expected: bytes):
    body = b'{"a": 1, "stream_options" : %b , "b":2}'
    assert with_usage(body % options, options) == body % expected


@pytest.mark.parametrize("said", [b"true", b'"true"', b"1", b'"yes"', b"1.0"])
def test_usage_that_a_client_asks_for_in_other_words_is_its_own(said: bytes):
    assert asks_for_usage(b'{"include_usage": %b}' % said)


@pytest.mark.parametrize("said", [b"false", b'"no"', b"0", b"null", b'"maybe"', b"[true]", b"2"])
def test_usage_that_nobody_asked_for(said: bytes):
    assert not asks_for_usage(b'{"include_usage": %b}' % said)


@pytest.mark.parametrize("options", [b"5", b'"a"', b"[]"])
def test_options_that_cannot_be_added_to(options: bytes):
    with pytest.raises(ApiError) as caught:
        with_usage(b'{"stream_options": %b}' % options, options)
    assert (caught.value.status, caught.value.param) == (400, "stream_options")


@given(st.binary(max_size=80), st.sampled_from([b"", FILL]), st.sampled_from(list(BodyKind)))
def test_no_bytes_raise_anything_else(middle: bytes, fill: bytes, kind: BodyKind):
    if kind is BodyKind.MULTIPART:
        return
    for before, after in (
        (b"", b""),
        (b'{"model":"m",', b"}"),
        (b'{"model":"m","messages":[', b"]}"),
        (b'{"n":', b"}"),
    ):
        with suppress(ApiError):
            read_json_prompt(kind, fill + before + middle + after)


def test_a_large_body_of_nothing_but_lists_is_refused():
    body = b'{"model":"m","messages":[' + b"[]," * 1_000_000 + b"[]]}"
    with pytest.raises(ApiError, match="more than 1000000 lists and objects"):
        read_fields(body, LONG)
