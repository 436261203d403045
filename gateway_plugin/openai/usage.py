"""Token usage of responses that pass through the plugin: JSON documents and streams of events, in any chunks.

The same answers as deploy/envoy/lua/gateway.lua gives inside Envoy: a `usage` counts only as a member of the document
itself (of its `response` or `message` in the typed streams), so text that a model wrote cannot pose as one.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

# A chat completion is a few KiB, an event less; embeddings of a large batch are the longest, and are charged as
# reserved when they are longer than this.
MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_EVENT_BYTES = 1024 * 1024
"""Of one event in a stream; usage stands in small ones."""
_MAX_COUNT = 2**53
"""What JSON carries exactly."""

Tokens = dict[str, int]
_COUNTS = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"),
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
)
_NOTHING = Raw(b"null")
T = TypeVar("T")


class UsageReader(Protocol):
    """Fed with the body of one response."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""

    def tokens(self) -> Tokens:
        """At the end: of prompt_tokens, completion_tokens, total_tokens, cached_tokens, those that were named."""


def reader_for(content_type: str, content_encoding: str) -> UsageReader | None:
    """The reader for a response; None for a body that says nothing of tokens, or says it in compressed form."""
    if content_encoding not in ("", "identity"):
        return None
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return StreamUsage()
    return JsonUsage() if media_type == "application/json" else None


class JsonUsage:
    """One document, read when it is complete."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > MAX_JSON_BYTES:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def tokens(self) -> Tokens:
        document = _decode(b"".join(self._chunks), _Document)
        return _counts(_numbers(document.usage)) if document is not None else {}


class StreamUsage:
    """Server-sent events; one at a time is kept, however they are cut."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._bytes = 0
        self._cr_ended = False
        self._start: Tokens | None = None
        self._last: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> None:
        if self._cr_ended and chunk.startswith(b"\n"):  # the second half of a CRLF
            chunk = chunk[1:]
            self._cr_ended = False
        for piece in chunk.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            self._keep(self._line, text)
            if len(text) < len(piece):
                self._end_line()
        if chunk:
            self._cr_ended = chunk.endswith(b"\r")

    def tokens(self) -> Tokens:
        self._end_line()
        self._end_event()
        if self._last is None:
            return {}
        return _counts(self._last) if self._start is None else _anthropic({**self._start, **_whole(self._last)})

    def _keep(self, pieces: list[bytes], piece: bytes) -> None:
        """Of an event that is too long nothing is kept, and its end is waited for."""
        self._bytes += len(piece)
        if self._bytes <= MAX_EVENT_BYTES:
            pieces.append(piece)

    def _end_line(self) -> None:
        line = b"".join(self._line)
        self._line.clear()
        if line.startswith(b"data:"):
            self._data.append(line[5:])
        elif not line:
            self._end_event()

    def _end_event(self) -> None:
        if self._bytes <= MAX_EVENT_BYTES:
            self._read(b"\n".join(self._data))
        self._data.clear()
        self._bytes = 0

    def _read(self, data: bytes) -> None:
        event = _decode(data, _Event) if b'"usage"' in data else None
        if event is None:
            return
        kind = bytes(event.type)
        if kind == b'"message_start"':
            message = _decode(event.message, _Document)
            usage = _numbers(message.usage) if message is not None else None
            self._start = {name: count for name, count in _whole(usage or {}).items() if name != "output_tokens"}
            return
        response = _decode(event.response, _Document) if kind.startswith(b'"response.') else event
        usage = _numbers(response.usage) if response is not None else None
        self._last = self._last if usage is None else usage


class _Document(Struct):
    usage: Raw = _NOTHING


class _Event(_Document):
    type: Raw = _NOTHING
    message: Raw = _NOTHING
    response: Raw = _NOTHING


def _decode(text: bytes | Raw, form: type[T]) -> T | None:
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _numbers(usage: Raw) -> dict[str, Any] | None:
    """The members of a usage object; None where there is none."""
    return _decode(usage, dict[str, Any])


def _whole(usage: dict[str, Any]) -> Tokens:
    """The members that are token counts; none at all when one that should be is none."""
    counts = {name: usage[name] for name in _COUNTS if usage.get(name) is not None}
    return counts if all(type(count) is int and 0 <= count < _MAX_COUNT for count in counts.values()) else {}


def _counts(usage: dict[str, Any] | None) -> Tokens:
    """By OpenAI's names: of chat and text completions, responses, embeddings, and Anthropic's messages."""
    numbers = _whole(usage or {})
    if "total_tokens" not in numbers and "prompt_tokens" not in numbers:
        return _anthropic(numbers)
    assert usage is not None
    prompt = numbers.get("prompt_tokens", numbers.get("input_tokens"))
    completion = numbers.get("completion_tokens", numbers.get("output_tokens"))
    total = numbers.get("total_tokens")
    if total is None:
        if prompt is None or completion is None:
            return {}
        total = prompt + completion
    if prompt is not None and completion is None:  # embeddings
        completion = max(total - prompt, 0)
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _whole(details).get("cached_tokens") if isinstance(details, dict) else None
    return _named(prompt, completion, total, cached)


def _anthropic(numbers: Tokens) -> Tokens:
    """Anthropic's input_tokens leave out what the prompt cache served or stored."""
    if "input_tokens" not in numbers or "output_tokens" not in numbers:
        return {}
    cached = numbers.get("cache_read_input_tokens")
    prompt = numbers["input_tokens"] + (cached or 0) + numbers.get("cache_creation_input_tokens", 0)
    return _named(prompt, numbers["output_tokens"], prompt + numbers["output_tokens"], cached)


def _named(prompt: int | None, completion: int | None, total: int, cached: int | None) -> Tokens:
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "cached_tokens": cached,
    }
    return {name: count for name, count in counts.items() if count is not None}
