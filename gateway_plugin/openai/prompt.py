"""What a request body says of the work that it makes, as far as routing and limits need it.

Of a JSON body the fields that they look at are read, each at most once. A field that decides must not stand twice:
parsers differ in which one wins. msgspec is by far the fastest reader, and lets the last one win. That there is no
other is clear when no string stands twice in all of the body but its prompt, which is what is long. Where that is not
clear, where a value is not of its plain type, and where a body is very large, it is walked, member by member.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.byte_counts import count_openings, count_quotes
from gateway_plugin.openai.errors import bad_body
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.members import members
from gateway_plugin.openai.prompt_key import CLOSING_MARKS, MAX_SHORT_BYTES, WHITE_SPACE, Span, long_key
from gateway_plugin.openai.values import MAX_COUNT, MAX_SALT_BYTES, count, flag, model_name, salt
from routing.prefix.prefix_blocks import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


ABSENT = Raw(b"")
# Plain values; all others are for the walk to read, or to refuse.
_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
_Salt: TypeAlias = Annotated[str, Meta(max_length=MAX_SALT_BYTES // 6)]
# Bodies above it are walked, because all else copies the prompt.
_MAX_COPIED_BYTES = 256 * 1024
# As much may stand beside the prompt; looking through more takes longer than the walk.
_MAX_REST_BYTES = 4096
_LARGE_BYTES = 1024 * 1024
"""Bodies above it are counted through before they are read."""
_MAX_OPENINGS = 1_000_000
"""Lists and objects of a large body, and such marks in its texts: reading them costs 4 ns each here, and an engine 100
bytes. A prompt of that many would have a million tokens of brackets."""
_MAX_OPTIONS_BYTES = 4096
"""Of `stream_options`, which is rewritten."""
_FIRST_ITEM = re.compile(rb"\[[ \t\r\n]*(.)", re.DOTALL)


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
            if at > 0 and text[-1] in CLOSING_MARKS and body.startswith(text, start):
                body = body[:start] + body[start + len(text) :]
                spans[name] = text, 0, len(text)
    return body


def _walked(body: bytes, default_model: str) -> tuple[Fields, dict[str, Span]]:
    if len(body) > _LARGE_BYTES and count_openings(body) > _MAX_OPENINGS:
        raise bad_body(f"more than {_MAX_OPENINGS} lists and objects")
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


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """What a request body says of the work it makes."""

    key: bytes
    """Equal beginnings mean equal beginnings of the rendered prompts, for one model, adapter and cache salt."""
    cache_salt: str
    max_output_tokens: int | None
    """The client's own limit for each choice; None when there is none, or none that an engine could accept."""
    stream_options: bytes = b""
    """As they stand in the body; empty when they do not."""
    choices: int = 1
    """Answers that are made of each prompt."""
    prompts: int = 1
    """Prompts that are answered one by one; never fewer than an engine finds."""
    bytes_behind_key: int = 0
    """Of a prompt that is longer than its key."""
    previous_response_id: str = ""
    """The response that this one continues; only /v1/responses knows such."""
    has_request_id: bool = False
    """Whether the body of /v1/responses names the response itself."""
    may_be_kept: bool = True
    """Whether its response may be asked for again; False where the body says "store": false."""

    @property
    def tokens(self) -> float:
        """Estimated engine tokens of the prompt."""
        return (len(self.key) + self.bytes_behind_key) / BYTES_PER_TOKEN


NO_PROMPT = Prompt(b"", "", None)


class _Form(msgspec.Struct, frozen=True):
    """What bodies of a kind have."""

    parts: tuple[str, ...] = ()
    """What engines make a prompt of, in its order."""
    long: tuple[str, ...] = ()
    """Fields that make bodies long."""


_CHAT = _Form(("tools", "system", "messages"), ("messages", "tools", "system"))
_COMPLETION = _Form(("prompt",), ("prompt",))
_RESPONSES = _Form(("tools", "instructions", "input"), ("input", "tools", "instructions"))
_EMBEDDING = _Form(("tools", "instructions", "messages", "input"), ("input", "messages"))
_SCORE = _Form()
_FORMS = {
    BodyKind.CHAT: _CHAT,
    BodyKind.COMPLETION: _COMPLETION,
    BodyKind.EMBEDDING: _EMBEDDING,
    BodyKind.RESPONSES: _RESPONSES,
    BodyKind.RERANK: _Form(("query", "documents"), ("documents",)),
    BodyKind.CLASSIFY: _EMBEDDING,
    BodyKind.SCORE: _SCORE,
    BodyKind.PLAIN: _Form(),
    BodyKind.ANY: _Form(),
    BodyKind.NONE: _Form(),
}


def read_json_prompt(kind: BodyKind, body: bytes, default_model: str = "") -> tuple[RequestHead, Prompt]:
    """Head and prompt of a JSON body; raises ApiError 400 for what could be read in more than one way."""
    form = _FORMS[kind]
    fields, spans = read_fields(body, form.long, default_model)
    head = RequestHead(fields.model, fields.stream is True)
    key, behind = _key(form.parts, body, fields, spans)
    cache_salt = fields.cache_salt
    if form is _CHAT:
        limit = _larger(fields.max_tokens, fields.max_completion_tokens)
        return head, Prompt(key, cache_salt, limit, _options(fields), _choices(fields), 1, behind)
    if form is _COMPLETION:
        prompts = _prompts(fields, spans)
        return head, Prompt(key, cache_salt, fields.max_tokens, _options(fields), _choices(fields), prompts, behind)
    if form is _SCORE:
        behind = len(body)
    if form is not _RESPONSES:
        return head, Prompt(key, cache_salt, None, bytes_behind_key=behind)
    previous, has_id = _text(fields.previous_response_id), fields.request_id is not ABSENT
    limit = fields.max_output_tokens
    return head, Prompt(
        key,
        cache_salt,
        limit,
        bytes_behind_key=behind,
        previous_response_id=previous,
        has_request_id=has_id,
        may_be_kept=bytes(fields.store) != b"false",
    )


def _text(value: Raw) -> str:
    """A string; empty for what is none, which engines refuse or ignore."""
    try:
        return msgspec.json.decode(value, type=str) if value else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _key(names: tuple[str, ...], body: bytes, fields: Fields, spans: dict[str, Span]) -> tuple[bytes, int]:
    """The key, and how many bytes of the prompt lie behind it."""
    values = [getattr(fields, name) for name in names]
    if len(body) <= MAX_SHORT_BYTES:
        return _short_key(values), 0
    while values and values[-1] is ABSENT:
        values.pop()
    # Names of absent values at the end go with these.
    parts = [_span(name, value, spans) for name, value in zip(names, values, strict=False)]
    key, length = long_key(parts)
    return key, length - len(key)


def _short_key(parts: Sequence[Raw]) -> bytes:
    """`long_key` of parts that are together shorter than any media that would be replaced."""
    key = b"\0".join(parts).rstrip(b"\0")
    return key[:-1].rstrip(WHITE_SPACE) if key[-1:] in CLOSING_MARKS else key


def _span(name: str, value: Raw, spans: dict[str, Span]) -> Span:
    return spans.get(name) or (bytes(value), 0, len(value))


def _choices(fields: Fields) -> int:
    n, best_of = fields.n, fields.best_of
    return 1 if n is None and best_of is None else max(n or 1, best_of or 1)


def _larger(limit: int | None, other: int | None) -> int | None:
    """Engines differ in which of two limits counts."""
    if limit is None or other is None:
        return limit or other
    return max(limit, other)


def _options(fields: Fields) -> bytes:
    options = fields.stream_options
    if len(options) > _MAX_OPTIONS_BYTES:
        raise bad_body(f"'stream_options' is longer than {_MAX_OPTIONS_BYTES} bytes", param="stream_options")
    return bytes(options)


def _prompts(fields: Fields, spans: dict[str, Span]) -> int:
    """Those in words, and beside them those that come as vectors."""
    prompts = _number_of_prompts(*_span("prompt", fields.prompt, spans))
    if fields.prompt_embeds is ABSENT:
        return prompts
    embedded = _number_of_prompts(*_span("prompt_embeds", fields.prompt_embeds, spans))
    return embedded if fields.prompt is ABSENT else prompts + embedded


def _number_of_prompts(text: bytes, start: int, end: int) -> int:
    """How many items a list of prompts has; each is a text, or a list of tokens."""
    first = _FIRST_ITEM.match(text, start, end)
    if first is None:
        return 1
    if first[1] == b'"':
        quotes = count_quotes(text, start, end)
        # Behind two backslashes a quote ends its text, after all; behind three one is counted for nothing.
        return (quotes.all - quotes.escaped + quotes.escaped_twice + 1) // 2
    if first[1] == b"[":
        return text.count(b"[", start, end) - 1
    return text.count(b"{", start, end) if first[1] == b"{" else 1
