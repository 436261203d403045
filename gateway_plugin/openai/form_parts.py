"""The parts of a multipart form, each as a name and where its value stands; nothing is copied.

Engines and proxies differ in what they make of a form that is not written as all clients write it. Whoever reads
another `model` than the engine does lets requests pass unseen, so everything that could be read in two ways is refused:
boundaries that stand anywhere else, folded or unfinished headers, parts with two names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PARTS = 1000
"""As Starlette has it, under most engines."""
_MAX_HEADER_BYTES = 4096
"""Of one part's headers, all lines."""
_MAX_HEADER_LINES = 16
"""Of one part; clients send two or three."""
_LINE = b"\r\n"
_TOKEN = rb"[!#-'*+.0-9A-Z^-z|~-]++"
_PARAMETER = rb'[ \t]*+;[ \t]*+(%b)=("(?:[^"\\]|\\.)*+"|[^ \t";\\]++)' % _TOKEN
_HEADER = re.compile(rb"(%b):[ \t]*+([^\r\n\0]*+)" % _TOKEN)
_VALUE = re.compile(rb"(%b(?:/%b)?)((?:%b)*+)[ \t]*+;?[ \t]*+" % (_TOKEN, _TOKEN, _PARAMETER))
_ONE_PARAMETER = re.compile(_PARAMETER)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,255}[0-9A-Za-z'()+_,./:=?-]")
# A parameter in these spellings (`name*=utf-8''model`, of RFC 2231) is the same to some readers.
_OTHER_SPELLINGS = (b"name*", b"boundary*", b"charset*")
_UNCODED = (b"", b"7bit", b"8bit", b"binary")
_CHARSETS = (b"", b"utf-8", b"utf8", b"us-ascii")


class FormPart(NamedTuple):
    """One value of a form, and where it stands in the body."""

    name: bytes
    start: int
    end: int
    is_plain: bool
    """False for a value in another character set or coding."""


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts; raises ApiError 400."""
    media_type, parameters = _parsed(content_type.encode("utf-8", "surrogateescape"), "content-type")
    if media_type.lower() != b"multipart/form-data":
        raise bad_form("expected multipart/form-data content-type")
    if parameters.get(b"charset", b"").lower() not in _CHARSETS:
        raise bad_form("the charset of a form must be utf-8")
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise bad_form("missing boundary in content-type")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise bad_form("bad boundary in content-type")
    return boundary


def parts(body: bytes, boundary: bytes) -> Iterator[FormPart]:
    """The parts of a form in their order; raises ApiError 400, at the latest after the last one."""
    mark = b"--" + boundary
    at = len(_LINE) if body.startswith(_LINE) else 0
    if not body.startswith(mark + _LINE, at):
        raise _unreadable("it does not begin with its boundary")
    at += len(mark)
    count = 0
    while body.startswith(_LINE, at):
        count += 1
        if count > MAX_PARTS:
            raise _unreadable(f"more than {MAX_PARTS} parts")
        part = _part(body, at + len(_LINE), mark)
        yield part
        at = part.end + len(_LINE) + len(mark)
    if body[at : at + 2] != b"--" or body[at + 2 : at + 5] not in (b"", _LINE):
        raise _unreadable("a boundary is followed by something else")


def bad_form(message: str) -> ApiError:
    """400 for a form that cannot be used, with AIBrix's header."""
    return ApiError(kinds.BAD_FORM, message)


def _unreadable(why: str) -> ApiError:
    return bad_form(f"failed to parse multipart form: {why}")


def _part(body: bytes, at: int, mark: bytes) -> FormPart:
    start = body.find(_LINE + _LINE, at, at + _MAX_HEADER_BYTES)
    if start < 0:
        raise _unreadable("the headers of a part do not end")
    if body.find(mark, at, start) >= 0:
        raise _unreadable("its boundary stands inside of a part")
    name, is_plain = _headers(body[at:start].split(_LINE, _MAX_HEADER_LINES))
    start += 2 * len(_LINE)
    # Wherever it stands, so that it stands nowhere else; and it is found four times as fast as with its line's end.
    end = body.find(mark, start) - len(_LINE)
    if end < start - len(_LINE):
        raise _unreadable("it ends before its last boundary")
    if end < start or not body.startswith(_LINE, end):
        raise _unreadable("its boundary stands inside of a part")
    return FormPart(name, start, end, is_plain)


def _headers(lines: list[bytes]) -> tuple[bytes, bool]:
    """The name of a part, and whether its value is plain text."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None or match[1].lower() in headers:
            raise _unreadable("the headers of a part cannot be read")
        headers[match[1].lower()] = match[2]
    disposition, parameters = _parsed(headers.get(b"content-disposition", b""), "content-disposition")
    if disposition.lower() != b"form-data" or b"name" not in parameters:
        raise _unreadable("a part has no name")
    is_coded = headers.get(b"content-transfer-encoding", b"").strip().lower() not in _UNCODED
    charset = headers.get(b"content-type", b"").lower().partition(b"charset=")[2].strip(b' \t"')
    return parameters[b"name"], not is_coded and charset in _CHARSETS


def _parsed(value: bytes, header: str) -> tuple[bytes, dict[bytes, bytes]]:
    """The value of a header, and its parameters by lower-case name."""
    match = _VALUE.fullmatch(value)
    if match is None:
        raise _unreadable(f"its {header} cannot be read")
    found = [(name.lower(), text) for name, text in _ONE_PARAMETER.findall(match[2])]
    parameters = dict(found)
    if len(parameters) < len(found) or any(name.startswith(_OTHER_SPELLINGS) for name in parameters):
        raise _unreadable(f"its {header} says something twice")
    lower = value.lower()
    if b"\\" in value and lower.count(b"name") - lower.count(b"filename") != 1:
        # Where a quoted text ends that has backslashes is not the same for all.
        raise _unreadable(f"its {header} may have two names")
    return match[1], {name: text[1:-1] if text.startswith(b'"') else text for name, text in parameters.items()}
