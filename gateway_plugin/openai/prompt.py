"""What a request body says of the work that it makes, as far as routing and limits need it."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway_plugin.openai.endpoints import BodyKind
from gateway_plugin.openai.fields import Fields, Span, read_fields
from gateway_plugin.openai.head import RequestHead, head_of
from gateway_plugin.openai.prompt_key import long_key, short_key
from gateway_plugin.openai.values import count, salt
from routing.prefix.prefix_keys import BYTES_PER_TOKEN


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

    @property
    def tokens(self) -> float:
        """Estimated engine tokens of the prompt."""
        return (len(self.key) + self.bytes_behind_key) / BYTES_PER_TOKEN


NO_PROMPT = Prompt(b"", "", None)

_PARTS: dict[BodyKind, tuple[str, ...]] = {
    BodyKind.CHAT: ("tools", "system", "messages"),
    BodyKind.COMPLETION: ("prompt",),
    BodyKind.EMBEDDING: ("tools", "instructions", "messages", "input"),
    BodyKind.RESPONSES: ("tools", "instructions", "input"),
    BodyKind.RERANK: ("query", "documents"),
    BodyKind.CLASSIFY: ("tools", "instructions", "messages", "input"),
    BodyKind.PLAIN: (),
}
"""What engines make a prompt of, in its order."""
_NOWHERE = (0, 0)
_FIRST_ITEM = re.compile(rb"\[[ \t\r\n]*(.)", re.DOTALL)
_CHAT, _COMPLETION, _RESPONSES = BodyKind.CHAT, BodyKind.COMPLETION, BodyKind.RESPONSES


def read_json_prompt(kind: BodyKind, body: bytes) -> tuple[RequestHead, Prompt]:
    """Head and prompt of a JSON body; raises ApiError 400 for what could be read in more than one way."""
    fields, spans = read_fields(body)
    head = head_of(fields)
    key, bytes_behind_key = _key(kind, body, fields, spans)
    has_choices = kind is _CHAT or kind is _COMPLETION
    return head, Prompt(
        key,
        salt(fields.cache_salt),
        _max_output_tokens(kind, fields),
        bytes(fields.stream_options) if has_choices else b"",
        max(count(fields.n) or 1, count(fields.best_of) or 1) if has_choices else 1,
        _number_of_prompts(fields.prompt) if kind is _COMPLETION else 1,
        bytes_behind_key,
    )


def _key(kind: BodyKind, body: bytes, fields: Fields, spans: dict[str, Span]) -> tuple[bytes, int]:
    """The key, and how many bytes of the prompt lie behind it."""
    if spans:
        found = [spans.get(name, _NOWHERE) for name in _PARTS[kind]]
        while found and found[-1] is _NOWHERE:
            found.pop()
        key, length = long_key(body, found)
        return key, length - len(key)
    parts = [getattr(fields, name) for name in _PARTS[kind]]
    while parts and not parts[-1]:
        parts.pop()
    return short_key(parts), 0


def _max_output_tokens(kind: BodyKind, fields: Fields) -> int | None:
    if kind is _RESPONSES:
        return count(fields.max_output_tokens)
    limit, other = count(fields.max_tokens), count(fields.max_completion_tokens) if kind is _CHAT else None
    if other is None or limit is None:
        return limit or other
    # Engines differ in which of the two counts.
    return max(limit, other)


def _number_of_prompts(prompt: Raw) -> int:
    """How many items a list of prompts has; each is a text, or a list of tokens."""
    first = _FIRST_ITEM.match(prompt)
    if first is None:
        return 1
    text = bytes(prompt)
    if first[1] == b'"':
        # A quote behind a backslash ends no text, behind two it does; behind three one is counted for nothing.
        quotes = text.count(b'"') - text.count(b'\\"') + text.count(b'\\\\"')
        return (quotes + 1) // 2
    if first[1] == b"[":
        return text.count(b"[") - 1
    return text.count(b"{") if first[1] == b"{" else 1
