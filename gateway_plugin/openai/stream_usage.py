"""Asking an engine to report the usage of a stream, in the client's name.

Without `stream_options.include_usage` a stream of chat or text completions says nothing of its tokens, and a token
limit would have nothing to count. The option is added to the body as bytes; nothing else in it changes.
"""

from __future__ import annotations

import msgspec

_OPTION = b'"stream_options":{"include_usage":true}'


class _Options(msgspec.Struct):
    include_usage: bool | None = None


def asks_for_usage(stream_options: bytes) -> bool:
    """Whether the raw `stream_options` of a body ask for usage; False for what cannot be read."""
    try:
        return msgspec.json.decode(stream_options, type=_Options).include_usage is True
    except msgspec.MsgspecError:
        return False


def with_usage(body: bytes, stream_options: bytes) -> bytes:
    """The body, asking for usage; `stream_options` is what it says now, empty for nothing."""
    if stream_options:
        return _reencoded(body)
    start = body.index(b"{") + 1
    return b"".join((body[:start], _OPTION, b",", body[start:]))


def _reencoded(body: bytes) -> bytes:
    # The body's own options must stay, and a key must not stand twice: parsers differ in which one wins.
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    options = msgspec.json.decode(fields.get("stream_options", b"null"))
    fields["stream_options"] = msgspec.Raw(
        msgspec.json.encode((options if isinstance(options, dict) else {}) | {"include_usage": True})
    )
    return msgspec.json.encode(fields)
