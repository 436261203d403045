"""The fields of a JSON body that routing and limits look at, each at most once.

A field that decides must not stand twice: parsers differ in which one wins. msgspec is by far the fastest reader, and
lets the last one win. That there is no other is clear when no string stands twice in all of the body but its prompt,
which is what is long. Where that is not clear, where a value is not of its plain type, and where a body is very large,
it is walked, member by member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from gateway_plugin.openai.errors import bad_body
from gateway_plugin.openai.members import members
from gateway_plugin.openai.values import MAX_COUNT, MAX_SALT_BYTES, count, flag, model_name, salt

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT = Raw(b"")
Span: TypeAlias = tuple[bytes, int, int]
"""A part of a text: from where to where."""
# Plain values; all others are for the walk to read, or to refuse.
_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
_Salt: TypeAlias = Annotated[str, Meta(max_length=MAX_SALT_BYTES // 6)]
# Bodies above it are walked, because all else copies the prompt.
_MAX_COPIED_BYTES = 256 * 1024
# As much may stand beside the prompt; looking through more takes longer than the walk.
_MAX_REST_BYTES = 4096
_CLOSING_MARKS = b'"]}'


class Fields(Struct, frozen=True, gc=False):
    """What a body says. Of prompts the JSON text, without space around it, and empty where there is none."""

    model: _Name
    messages: Raw = ABSENT
    stream: bool | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    stream_options: Raw = ABSENT
    tools: Raw = ABSENT
    system: Raw = ABSENT
    n: _Count | None = None
    best_of: _Count | None = None
    prompt: Raw = ABSENT
    prompt_embeds: Raw = ABSENT
    input: Raw = ABSENT
    instructions: Raw = ABSENT
    max_output_tokens: _Count | None = None
    query: Raw = ABSENT
    documents: Raw = ABSENT
    cache_salt: _Salt = ""
    previous_response_id: Raw = ABSENT
    request_id: Raw = ABSENT
    store: Raw = ABSENT


_DECODER = msgspec.json.Decoder(Fields)
_NAMES = {name.encode(): name for name in Fields.__struct_fields__}
_KEYS = {name: b'"%b":' % name.encode() for name in Fields.__struct_fields__}
_READERS: dict[str, Callable[[Raw], object]] = {
    "stream": lambda value: flag(value, "stream"),
    "cache_salt": salt,
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"), count),
}
"""Of values that are more than their text."""


def read_fields(body: bytes, long_fields: tuple[str, ...], default_model: str = "") -> tuple[Fields, dict[str, Span]]:
    """The fields, and where values stand, of large bodies at least; `long_fields` are those that make bodies long.

    `default_model` was named elsewhere, for bodies that name none. Raises ApiError 400.
    """
    if len(body) > _MAX_COPIED_BYTES:
        return _walked(body, default_model)
    try:
        fields = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _walked(body, default_model)
    spans: dict[str, Span] = {}
    return (
        (fields, spans) if _names_stand_once(_rest(body, fields, long_fields, spans)) else _walked(body, default_model)
    )


def _names_stand_once(rest: bytes) -> bool:
    """False also for what is merely not plain."""
    if len(rest) > _MAX_REST_BYTES or b"\\" in rest:
        return False
    strings = rest.split(b'"')[1::2]
    if len(set(strings)) == len(strings):
        return True
    names = [string for string in strings if string in _NAMES]
    return len(set(names)) == len(names)


def _rest(body: bytes, fields: Fields, long_fields: tuple[str, ...], spans: dict[str, Span]) -> bytes:
    """The body without the long values, as far as they are easily found; these are put into `spans`.

    In JSON nothing but a key looks like `"name":`, wherever it stands, and a text that begins with a whole array,
    object or string has no other there. So whatever is cut is one whole value, and no key beside it.
    """
    for name in long_fields:
        value: Raw = getattr(fields, name)
        if value is not ABSENT:
            text, key = bytes(value), _KEYS[name]
            at = body.find(key)
            start = at + len(key)
            start += body.startswith(b" ", start)
            if at > 0 and text[-1] in _CLOSING_MARKS and body.startswith(text, start):
                body = body[:start] + body[start + len(text) :]
                spans[name] = text, 0, len(text)
    return body


def _walked(body: bytes, default_model: str) -> tuple[Fields, dict[str, Span]]:
    spans: dict[str, Span] = {}
    for key, start, end in members(body):
        name = _NAMES.get(key)
        if name is not None:
            if name in spans:
                raise bad_body(f"'{name}' stands more than once in the request body", param=name)
            spans[name] = body, start, end
    text = memoryview(body)
    values: dict[str, Any] = {name: Raw(text[start:end]) for name, (_, start, end) in spans.items()}
    values["model"] = model_name(values.get("model", ABSENT), default_model)
    for name in spans.keys() & _READERS.keys():
        values[name] = _READERS[name](values[name])
    return Fields(**values), spans
