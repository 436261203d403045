"""What a request body says of the work that it makes, as far as routing and limits need it."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.body_fields import ABSENT, Fields, Span, read_fields
from gateway_plugin.openai.errors import bad_body
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.prompt_key import MAX_SHORT_BYTES, long_key, short_key
from routing.prefix.prefix_blocks import BYTES_PER_TOKEN


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
_MAX_OPTIONS_BYTES = 4096
_FIRST_ITEM = re.compile(rb"\[[ \t\r\n]*(.)", re.DOTALL)


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
        return short_key(values), 0
    while values and values[-1] is ABSENT:
        values.pop()
    # Names of absent values at the end go with these.
    parts = [_span(name, value, spans) for name, value in zip(names, values, strict=False)]
    key, length = long_key(parts)
    return key, length - len(key)


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
        quotes = text.count(b'"', start, end)
        if text.find(b"\\", start, end) >= 0:
            quotes -= text.count(b'\\"', start, end)
        if text.find(b"\\\\", start, end) >= 0:
            # Behind two backslashes a quote ends its text, after all; behind three one is counted for nothing.
            quotes += text.count(b'\\\\"', start, end)
        return (quotes + 1) // 2
    if first[1] == b"[":
        return text.count(b"[", start, end) - 1
    return text.count(b"{", start, end) if first[1] == b"{" else 1
