"""The key of a prompt: its raw JSON parts in the order in which chat templates put them, separated by NUL.

Appending a message only appends to the key, because the last part is left open: it lacks its closing mark. Embedded
media are replaced by a fingerprint of fixed length: an engine makes about a thousand tokens of an image, whatever its
size. Only the beginning is kept, as much as prefixes are compared of; the length of the whole is told beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from xxhash import xxh3_128_hexdigest

from routing.prefix.prefix_blocks import MAX_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


Span: TypeAlias = tuple[bytes, int, int]
"""A part of a text: from where to where."""
_MEDIA_BYTES = 4096
"""Longer strings may be images: a name of theirs is made of probes."""
# Any string longer than _MEDIA_BYTES covers at least one whole probe.
_STRIDE_BYTES = 2048
_PROBE_BYTES = 32
"""Of such a string, at regular places."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"
WHITE_SPACE = b" \t\r\n"
CLOSING_MARKS = b'"]}'
_TAIL_BYTES = 64
"""Of its end."""
MAX_SHORT_BYTES = _MEDIA_BYTES
"""Parts that are together no longer hold no media that would be replaced."""


def long_key(parts: Sequence[Span]) -> tuple[bytes, int]:
    """The beginning of the key of parts, each from start to end of a text, and the bytes of the whole key."""
    pieces = _Pieces()
    for text, start, end in parts[:-1]:
        _add_part(pieces, text, start, end)
        pieces.add(b"\0")
    for text, start, end in parts[-1:]:
        _add_part(pieces, text, start, _left_open(text, start, end))
    return pieces.joined(), pieces.length


class _Pieces:
    """What the key is made of, as far as it is kept."""

    def __init__(self) -> None:
        self.length = 0
        self._kept: list[bytes | memoryview] = []

    def add(self, piece: bytes | memoryview) -> None:
        room = MAX_KEY_BYTES - self.length
        self.length += len(piece)
        if len(piece) <= room:
            self._kept.append(piece)
        elif room > 0:
            self._kept.append(piece[:room])

    def joined(self) -> bytes:
        return b"".join(self._kept)


def _left_open(body: bytes, start: int, end: int) -> int:
    """Where a string, array or object ends without its closing mark, so that a longer one begins with it."""
    if start == end or body[end - 1 : end] not in CLOSING_MARKS:
        return end
    tail = body[max(start, end - 1 - _TAIL_BYTES) : end - 1]
    return end - 1 - len(tail) + len(tail.rstrip(WHITE_SPACE))


def _add_part(pieces: _Pieces, body: bytes, start: int, end: int) -> None:
    if end - start <= _MEDIA_BYTES:
        pieces.add(body[start:end])
        return
    done, text = start, memoryview(body)
    for media_start, media_end in _media(body, start, end):
        pieces.add(text[done:media_start])
        fingerprint = xxh3_128_hexdigest(text[media_start:media_end]).encode()
        pieces.add(fingerprint * (_MEDIA_BYTES // len(fingerprint)))
        done = media_end
    pieces.add(text[done:end])


def _media(body: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Looks at a few bytes of every stride: what long base64 data cannot avoid, and text rarely resembles."""
    seen = start
    for probe in range(start, end, _STRIDE_BYTES):
        if probe < seen or body[probe : probe + _PROBE_BYTES].translate(None, _BASE64):
            continue
        first, last = body.rfind(b'"', start, probe) + 1, body.find(b'"', probe, end)
        if last < 0:
            return
        seen = last
        if first and last - first > _MEDIA_BYTES and _is_media(body, first):
            yield first, last


def _is_media(body: bytes, start: int) -> bool:
    """Whether the string that starts there is a data URL, or the value of a field named `data`."""
    return body.startswith(b"data:", start) or body[max(0, start - 16) : start - 1].rstrip().endswith(b'"data":')
