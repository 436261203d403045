"""The members of a JSON object, one step each: where every value stands, without an object for any of them.

msgspec skips a value, however large, at memory speed and builds nothing. What it skips it cannot give back, but where
another byte follows it says so ("trailing characters (byte 9)"), and that is where the value ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway_plugin.openai.errors import bad_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.openai.errors import ApiError

MAX_MEMBERS = 1024
"""Of one object. Requests have a dozen; a body of millions would take a step for each."""
_MAX_KEY_BYTES = 256
"""Of a member's name with escapes; longer ones are none of ours."""
_SPACE = rb"[ \t\r\n]{0,524288}+"
"""In one place; more is looked at for 2 ns a byte, and is nobody's."""
_SHORT_STRING = rb'"[^"\\\x00-\x1f]{0,64}+"'
_SCALAR = rb"-?(?:0|[1-9][0-9]{0,18}+)(?:\.[0-9]{1,20}+)?|true|false|null"
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?" + _SPACE + rb"(\{)?" + _SPACE)
# Key, colon, and the value with what follows it where that is short and plain; what is not is left to msgspec.
_MEMBER = re.compile(
    b"%b(%b)%b:%b(?:(%b|%b)%b([,}]))?" % (_SPACE, _SHORT_STRING, _SPACE, _SPACE, _SHORT_STRING, _SCALAR, _SPACE)
)
_REST = re.compile(_SPACE)
_PLACE = re.compile(r" \(byte \d+\)$")
_VALUE_END = re.compile(r"trailing characters \(byte (\d+)\)$")
_RAW = msgspec.json.Decoder(Raw)
_KEY = msgspec.json.Decoder(str)
_KINDS = {b"[": "array", b'"': "str", b"t": "bool", b"f": "bool", b"n": "null"} | dict.fromkeys(
    [b"%d" % digit for digit in range(10)], "number"
)
_TRUNCATED = "Input data was truncated"
_CLOSING = ord("}")
_SPACES = (b" ", b"\t", b"\r", b"\n")
_ENDS = {ord('"'): b'"', ord("["): b"]", ord("{"): b"}"}
_SHORT_BYTES = 1024 * 1024
"""Up to here reading twice, which few bodies need, costs less than looking for what might need it."""


def members(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each value, in their order; raises ApiError 400 for what is no JSON object.

    Names are UTF-8, and empty where they are longer than any that somebody asks for. Half a surrogate pair, which is
    what remains of an emoji that was cut, passes: engines take it.
    """
    scan = _Scan(body)
    at, closed = scan.opening()
    for _ in range(MAX_MEMBERS):
        if closed:
            break
        name, start, end, at = scan.member(at)
        yield name, start, end
        closed = body[at - 1] == _CLOSING
    if not closed:
        raise _failed(f"more than {MAX_MEMBERS} members at its top level")
    if _REST.fullmatch(body, at) is None:
        raise _malformed(at)


def with_value(body: bytes, name: str, value: bytes) -> bytes:
    """The object with another value for a member that it has once; all else stays, byte for byte."""
    wanted, text = name.encode(), memoryview(body)
    start, end = next((start, end) for found, start, end in members(body) if found == wanted)
    return b"".join((text[:start], value, text[end:]))


class _Scan:
    """One walk over a body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        # A long body must not be read twice because of half an emoji at its end.
        text = body if len(body) <= _SHORT_BYTES else _forgiven(body)
        self._forgiving = text is not body
        self._text = memoryview(text)

    def opening(self) -> tuple[int, bool]:
        """Where the first member begins; or what follows the object, when it has none."""
        match = _OPENING.match(self._body)
        assert match is not None  # it matches the empty text, too
        if match[1] is None:
            raise _no_object(self._body, match.end())
        closed = self._body.startswith(b"}", match.end())
        return match.end() + closed, closed

    def member(self, at: int) -> tuple[bytes, int, int, int]:
        """Name, start and end of the value of the member at `at`, and where the next one begins."""
        match = _MEMBER.match(self._body, at)
        if match is None:
            name, start = self._unusual_key(at)
        elif match[2] is not None:
            return match[1][1:-1], match.start(2), match.end(2), match.end()
        else:
            name, start = match[1][1:-1], match.end()
        follows = self._behind_value(start, b",}")
        return name, start, self._without_space(start, follows), follows + 1

    def _unusual_key(self, at: int) -> tuple[bytes, int]:
        """The name of a key that is long or has escapes, and where its value begins."""
        start = self._behind_space(at)
        if not self._body.startswith(b'"', start):
            raise _malformed(start) if start < len(self._body) else _failed(_TRUNCATED)
        colon = self._behind_value(start, b":")
        end = self._without_space(start, colon)
        return _name(self._body[start:end]) if end - start <= _MAX_KEY_BYTES else b"", self._behind_space(colon + 1)

    def _behind_value(self, start: int, expected: bytes) -> int:
        """Where the byte stands that follows a value and the space behind it; it is one of those expected."""
        try:
            _RAW.decode(self._text[start:])
        except msgspec.DecodeError as error:
            found = _VALUE_END.search(str(error))
            if found is None:
                return self._forgivingly(start, expected, error)
            follows = start + int(found[1]) - 1
            if self._body[follows] in expected:
                return follows
            raise _malformed(follows) from None
        except RecursionError:
            raise _failed("nested too deeply") from None
        raise _failed(_TRUNCATED)

    def _forgivingly(self, start: int, expected: bytes, error: msgspec.DecodeError) -> int:
        """Once more, with escapes as long in place of all that may be surrogates: ends stay where they are."""
        text = self._body if self._forgiving else _forgiven(self._body)
        if text is self._body:
            raise _failed(_PLACE.sub("", str(error))) from None
        self._forgiving, self._text = True, memoryview(text)
        return self._behind_value(start, expected)

    def _behind_space(self, at: int) -> int:
        match = _REST.match(self._body, at)
        assert match is not None  # it matches the empty text, too
        return match.end()

    def _without_space(self, start: int, end: int) -> int:
        """The end of a value of which `end` is behind the space that follows it."""
        mark = _ENDS.get(self._body[start])
        if mark is not None:
            # There is only space behind it, so this mark is its last.
            return self._body.rfind(mark, start, end) + 1
        # A number or a word has no space inside.
        spaces = (self._body.find(space, start, end) for space in _SPACES)
        return min((at for at in spaces if at >= 0), default=end)


def _forgiven(body: bytes) -> bytes:
    """The same where there is nothing to forgive. One byte is found ten times faster than two."""
    first = body.find(b"\\")
    at = body.find(b"\\u", first) if first >= 0 else -1
    if at < 0:
        return body
    if at < len(body) // 2:
        return body.replace(b"\\u", b"\\n")
    return b"".join((memoryview(body)[:at], body[at:].replace(b"\\u", b"\\n")))


def _name(key: bytes) -> bytes:
    try:
        return _KEY.decode(key).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):  # half a surrogate pair; not ASCII, in any case
        return b""


def _no_object(body: bytes, at: int) -> ApiError:
    if at == len(body):
        return _failed(_TRUNCATED) if body else bad_body("the request body is empty")
    kind = _KINDS.get(body[at : at + 1])
    return _failed(f"Expected object, got {kind}") if kind else _malformed(at)


def _malformed(at: int) -> ApiError:
    return _failed(f"JSON is malformed: unexpected byte at {at}")


def _failed(what: str) -> ApiError:
    return bad_body(f"error processing request body: {what}")
