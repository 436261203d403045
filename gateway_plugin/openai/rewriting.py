"""Another model's name in a body: in requests that used an alias, and back in their responses.

Requests: all but the name stays the bytes it was. Responses: every member `"model": "<name>"` is replaced as it streams
by. Text that a model wrote cannot pose as one, because quotes inside of JSON strings stand behind backslashes. Of a
member that is split over chunks the first part waits for the next chunk.
"""

from __future__ import annotations

import re

import msgspec

from gateway_plugin.openai.members import members, with_value

_KEY = b'"model"'
_SPACES = rb"[ \t\r\n]{0,16}"
# Longest blank on both sides of the colon.
_MAX_SPACES = 32


def with_model(body: bytes, model: str) -> bytes:
    """A JSON body that was read before, asking for another model."""
    name = msgspec.json.encode(model)
    try:
        return with_value(body, "model", name)
    except StopIteration:  # a header named it
        start, comma = body.index(b"{") + 1, b"," if any(members(body)) else b""
        return b"".join((body[:start], _KEY, b":", name, comma, body[start:]))


class NameRestorer:
    """One response. `name`: as the engine says it; `asked`: as the client shall read it."""

    def __init__(self, name: str, asked: str) -> None:
        self._value = msgspec.json.encode(name)
        self._new_value = msgspec.json.encode(asked)
        self._member = re.compile(b"(%b%b:%b)%b" % (_KEY, _SPACES, _SPACES, re.escape(self._value)))
        self._held = b""

    def feed(self, chunk: bytes, *, is_last: bool) -> bytes:
        """What may go on to the client now."""
        text = self._member.sub(self._replaced, self._held + chunk)
        self._held = b""
        if is_last:
            return text
        start = self._unfinished(text)
        self._held = text[start:]
        return text[:start]

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        return match[1] + self._new_value

    def _unfinished(self, text: bytes) -> int:
        """Where a member begins that the next chunk may complete; the end of the text where none does."""
        at = text.find(b'"', max(0, len(text) - len(_KEY) - len(self._value) - _MAX_SPACES - 1))
        while at >= 0:
            if self._may_begin(text[at:]):
                return at
            at = text.find(b'"', at + 1)
        return len(text)

    def _may_begin(self, rest: bytes) -> bool:
        if len(rest) <= len(_KEY):
            return _KEY.startswith(rest)
        if not rest.startswith(_KEY):
            return False
        colon, _, value = rest[len(_KEY) :].partition(b":")
        if colon.strip():
            return False
        value = value.lstrip()
        return self._value.startswith(value) and value != self._value
