"""Asking an engine to report the usage of a stream, in the client's name.

Without `stream_options.include_usage` a stream of chat or text completions says nothing of its tokens, and a token
limit would have nothing to count. The option is added to the body as bytes; nothing else in it changes.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Raw

from gateway_plugin.openai.errors import ApiError, bad_body
from gateway_plugin.openai.members import with_value
from gateway_plugin.openai.values import flag

_OPTION = b'"stream_options":{"include_usage":true}'
_TRUE = Raw(b"true")
_MAX_OPTIONS = 256
"""Texts of `stream_options`, 4 KiB each at most: clients say mostly the same."""


class _Options(msgspec.Struct):
    include_usage: Raw = Raw(b"false")


@lru_cache(_MAX_OPTIONS)
def asks_for_usage(stream_options: bytes) -> bool:
    """Whether the raw `stream_options` of a body ask for usage, in all words that engines take for it; False for what
    cannot be read."""
    try:
        return flag(msgspec.json.decode(stream_options, type=_Options).include_usage, "include_usage")
    except (msgspec.MsgspecError, ApiError):
        return False


def with_usage(body: bytes, stream_options: bytes) -> bytes:
    """The body, asking for usage; `stream_options` is what it says now, empty for nothing. Raises ApiError 400."""
    if stream_options:
        return with_value(body, "stream_options", _asking(stream_options))
    start = body.index(b"{") + 1
    return b"".join((memoryview(body)[:start], _OPTION, b",", memoryview(body)[start:]))


def _asking(stream_options: bytes) -> bytes:
    """The client's own options stay, and no name stands twice: parsers differ in which one wins."""
    try:
        options = msgspec.json.decode(stream_options, type=dict[str, Raw] | None) or {}
    except msgspec.MsgspecError:
        raise bad_body("'stream_options': expected an object", param="stream_options") from None
    return msgspec.json.encode(options | {"include_usage": _TRUE})
