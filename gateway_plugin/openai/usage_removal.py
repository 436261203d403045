"""Taking the event of usage alone out of a stream, where the gateway made the engine add it and no client asked for it.

The same as deploy/envoy/lua/gateway.lua does inside Envoy. An event is held until it is complete, which keeps nothing
from a client that could have been read; what is too long to be usage alone goes on in pieces. So does what is no JSON
object, as `data: [DONE]`: if trailers follow, Envoy takes no more text, and engines may leave out the blank line.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw, Struct

MAX_HELD_BYTES = 8192
"""Of an event that may be usage; longer ones pass."""
_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_NO_OBJECT = re.compile(rb"data: ?[^ {\r\n]")
_LINE_END = re.compile(rb"\r\n?|\n")
_BLANK_LINE_BYTES = 3  # of an event's end, all but its last byte


class _Chunk(Struct):
    choices: Raw = Raw(b"null")
    usage: Raw = Raw(b"null")


class UsageRemover:
    """One stream of chat or text completions."""

    def __init__(self) -> None:
        self._held = b""
        self._passed: bytes | None = None
        """The last bytes of an event of which the beginning has gone on already."""

    def feed(self, chunk: bytes, *, is_last: bool) -> bytes:
        """What may go on to the client now."""
        text, out = self._held + chunk, []
        start = self._rest_of_passed(text)
        out.append(text[:start])
        while end := _EVENT_END.search(text, start):
            event, start = text[start : end.end()], end.end()
            if not _is_usage_only(event):
                out.append(event)
        self._held = text[start:]
        if is_last or len(self._held) > MAX_HELD_BYTES or _NO_OBJECT.match(self._held):
            out.append(self._held)
            self._passed, self._held = self._held[-_BLANK_LINE_BYTES:], b""
        return b"".join(out)

    def _rest_of_passed(self, text: bytes) -> int:
        """How much of the text still belongs to an event that is passing."""
        if self._passed is None:
            return 0
        seen = self._passed + text
        end = _EVENT_END.search(seen)
        if end is None:
            self._passed = seen[-_BLANK_LINE_BYTES:]
            return len(text)
        rest = max(end.end() - len(self._passed), 0)
        self._passed = None
        return rest


def _is_usage_only(event: bytes) -> bool:
    if b'"usage"' not in event or b'"choices"' not in event:
        return False
    lines = (line for line in _LINE_END.split(event) if line.startswith(b"data:"))
    try:
        chunk = msgspec.json.decode(b"\n".join(line[5:] for line in lines), type=_Chunk)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return bytes(chunk.usage).startswith(b"{") and not bytes(chunk.choices).strip(b"[] \t\r\n")
