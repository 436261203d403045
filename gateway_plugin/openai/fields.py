"""The fields of a JSON body that routing and limits look at, each as the bytes it is, and each at most once.

A field that decides must not stand twice: parsers differ in which one wins. Small bodies are decoded by msgspec, which
is fastest and lets the last one win; that there is no other is clear when its name stands once in the whole text. All
other bodies are walked, member by member.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from gateway_plugin.openai.errors import bad_body
from gateway_plugin.openai.members import members

ABSENT = Raw(b"")
Span: TypeAlias = tuple[int, int]
# Above it the walk is as fast as counting names.
_SMALL_BYTES = 1024
# How an escape begins that stands for an ASCII character, and might spell a field's name.
_ASCII_ESCAPE = b"\\u00"


class Fields(Struct, frozen=True, gc=False):
    """Raw JSON, without space around it; empty for what does not stand in the body."""

    model: Raw = ABSENT
    messages: Raw = ABSENT
    stream: Raw = ABSENT
    max_tokens: Raw = ABSENT
    max_completion_tokens: Raw = ABSENT
    stream_options: Raw = ABSENT
    tools: Raw = ABSENT
    system: Raw = ABSENT
    n: Raw = ABSENT
    best_of: Raw = ABSENT
    prompt: Raw = ABSENT
    input: Raw = ABSENT
    instructions: Raw = ABSENT
    max_output_tokens: Raw = ABSENT
    query: Raw = ABSENT
    documents: Raw = ABSENT
    cache_salt: Raw = ABSENT


_DECODER = msgspec.json.Decoder(Fields)
_NAMES = {name.encode(): name for name in Fields.__struct_fields__}
_QUOTED = [b'"%b"' % name for name in _NAMES]


def read_fields(body: bytes) -> tuple[Fields, dict[str, Span]]:
    """The fields; with where each stands in the body, where the body is large. Raises ApiError 400."""
    if len(body) <= _SMALL_BYTES:
        fields = _small(body)
        if fields is not None:
            return fields, {}
    spans: dict[str, Span] = {}
    for key, start, end in members(body):
        name = _NAMES.get(key)
        if name is not None:
            if name in spans:
                raise bad_body(f"'{name}' stands more than once in the request body", param=name)
            spans[name] = start, end
    text = memoryview(body)
    return Fields(**{name: Raw(text[start:end]) for name, (start, end) in spans.items()}), spans


def _small(body: bytes) -> Fields | None:
    """None for what is not plainly unambiguous, or not plainly JSON."""
    if _ASCII_ESCAPE in body:
        return None
    try:
        fields = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    for value, quoted in zip(msgspec.structs.astuple(fields), _QUOTED, strict=True):
        if value is not ABSENT and body.count(quoted) != 1:
            return None
    return fields
