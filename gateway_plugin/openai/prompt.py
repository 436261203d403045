"""The prompt of a request body, as far as routing needs it: decoded together with the head, in one pass.

The key stands for the rendered prompt: the raw JSON of tools, system text and then every message, in the order in which
chat templates put them, separated by NUL, which JSON cannot contain. Appending a message only appends to the key.
Embedded media are replaced by a fingerprint of fixed length: an engine makes about a thousand tokens of an image,
whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw
from xxhash import xxh3_128_hexdigest

from gateway_plugin.openai.endpoints import BodyKind
from gateway_plugin.openai.head import (
    ChatHead,
    CompletionHead,
    Decoders,
    InputHead,
    PlainHead,
    RequestHead,
    RerankHead,
    decode_body,
)
from routing.prefix_keys import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

_Number: TypeAlias = int | float | None
_ABSENT = Raw(b"")
_MEDIA_BYTES = 4096
# Any string longer than _MEDIA_BYTES covers at least one whole probe.
_STRIDE_BYTES = 2048
_PROBE_BYTES = 32
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"
_WHITE_SPACE = b" \t\r\n"


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """What a request body says of the work it makes."""

    key: bytes
    """Equal beginnings mean equal beginnings of the rendered prompts, for one model, adapter and cache salt."""
    cache_salt: str
    max_output_tokens: int | None
    """The client's own limit; None when there is none, or none that an engine could accept."""
    stream_options: bytes = b""
    """As they stand in the body; empty when they do not."""

    @property
    def tokens(self) -> float:
        """Estimated engine tokens of the prompt."""
        return len(self.key) / BYTES_PER_TOKEN


class _ChatPrompt(ChatHead):
    tools: Raw = _ABSENT
    system: Raw = _ABSENT
    cache_salt: str | None = None
    max_tokens: _Number = None
    max_completion_tokens: _Number = None
    stream_options: Raw = _ABSENT


class _CompletionPrompt(CompletionHead):
    cache_salt: str | None = None
    max_tokens: _Number = None
    stream_options: Raw = _ABSENT


class _InputPrompt(InputHead):
    tools: Raw = _ABSENT
    instructions: Raw = _ABSENT
    cache_salt: str | None = None
    max_output_tokens: _Number = None


_DECODERS: Decoders = {
    BodyKind.CHAT: msgspec.json.Decoder(_ChatPrompt),
    BodyKind.COMPLETION: msgspec.json.Decoder(_CompletionPrompt),
    BodyKind.EMBEDDING: msgspec.json.Decoder(_InputPrompt),
    BodyKind.RESPONSES: msgspec.json.Decoder(_InputPrompt),
    BodyKind.RERANK: msgspec.json.Decoder(RerankHead),
    BodyKind.CLASSIFY: msgspec.json.Decoder(_InputPrompt),
    BodyKind.PLAIN: msgspec.json.Decoder(PlainHead),
}


def read_json_prompt(kind: BodyKind, body: bytes) -> tuple[RequestHead, Prompt]:
    """Head and prompt of a JSON body; raises ApiError 400 for what no engine could serve."""
    head, decoded = decode_body(kind, body, _DECODERS)
    return head, _PROMPTS[kind](decoded)


def _chat_prompt(body: _ChatPrompt) -> Prompt:
    assert isinstance(body.messages, list)
    return Prompt(
        key=_media_by_fingerprint(b"\0".join((body.tools, body.system, *body.messages))),
        cache_salt=body.cache_salt or "",
        # The first that is given counts, as it does in vLLM.
        max_output_tokens=_limit(body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens),
        stream_options=bytes(body.stream_options),
    )


def _completion_prompt(body: _CompletionPrompt) -> Prompt:
    return Prompt(
        key=_media_by_fingerprint(bytes(_open_ended(body.prompt))),
        cache_salt=body.cache_salt or "",
        max_output_tokens=_limit(body.max_tokens),
        stream_options=bytes(body.stream_options),
    )


def _input_prompt(body: _InputPrompt) -> Prompt:
    return Prompt(
        key=_media_by_fingerprint(b"\0".join((body.tools, body.instructions, _open_ended(body.input)))),
        cache_salt=body.cache_salt or "",
        max_output_tokens=_limit(body.max_output_tokens),
    )


def _rerank_prompt(body: RerankHead) -> Prompt:
    assert isinstance(body.query, Raw)
    assert isinstance(body.documents, list)
    return Prompt(_media_by_fingerprint(b"\0".join((body.query, *body.documents))), "", None)


def _no_prompt(body: PlainHead) -> Prompt:
    del body
    return Prompt(b"", "", None)


_PROMPTS: dict[BodyKind, Callable[[Any], Prompt]] = {
    BodyKind.CHAT: _chat_prompt,
    BodyKind.COMPLETION: _completion_prompt,
    BodyKind.EMBEDDING: _input_prompt,
    BodyKind.RESPONSES: _input_prompt,
    BodyKind.RERANK: _rerank_prompt,
    BodyKind.CLASSIFY: _input_prompt,
    BodyKind.PLAIN: _no_prompt,
}


def _limit(given: _Number) -> int | None:
    return int(given) if given is not None and given >= 1 else None


def _open_ended(value: object) -> memoryview:
    """A string or array without its closing mark, so that a longer one begins with it."""
    assert isinstance(value, Raw)
    inside = memoryview(value)[:-1]
    tail = bytes(inside[-64:])
    return inside[: len(inside) - len(tail) + len(tail.rstrip(_WHITE_SPACE))]


def _media_by_fingerprint(key: bytes) -> bytes:
    """Looks at a few bytes of every stride: what long base64 data cannot avoid, and text rarely resembles."""
    if len(key) <= _MEDIA_BYTES:
        return key
    parts: list[bytes] = []
    done = seen = 0
    for probe in range(0, len(key), _STRIDE_BYTES):
        if probe < seen or key[probe : probe + _PROBE_BYTES].translate(None, _BASE64):
            continue
        start, end = key.rfind(b'"', 0, probe) + 1, key.find(b'"', probe)
        if end < 0:
            break
        seen = end
        if end - start > _MEDIA_BYTES and _is_media(key, start):
            fingerprint = xxh3_128_hexdigest(memoryview(key)[start:end]).encode()
            parts += key[done:start], fingerprint * (_MEDIA_BYTES // len(fingerprint))
            done = end
    return b"".join([*parts, key[done:]]) if parts else key


def _is_media(key: bytes, start: int) -> bool:
    """Whether the string that starts there is a data URL, or the value of a field named `data`."""
    return key.startswith(b"data:", start) or key[max(0, start - 16) : start - 1].rstrip().endswith(b'"data":')
