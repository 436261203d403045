"""Counting bytes of large bodies, at 0.2 ns a byte whatever they are: `bytes.count` and `find` take 10 times as long
where what they look for is everywhere, and a client decides that.

numpy looks at a stride at a time, so that nothing of the body's size is allocated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SMALL_BYTES = 64 * 1024
"""Up to here the plain methods of `bytes` are as fast as a call of numpy."""
_STRIDE_BYTES = 256 * 1024
"""Looked at in one piece: it stays in a core's cache."""
_QUOTE, _BACKSLASH, _LIST, _OBJECT = b'"\\[{'


class Quotes(NamedTuple):
    """Of a JSON text."""

    all: int
    escaped: int
    """Behind a backslash."""
    escaped_twice: int
    """Behind two of them."""


def count_quotes(text: bytes, start: int, end: int) -> Quotes:
    """Between two places of a text."""
    if end - start <= SMALL_BYTES:
        return Quotes(*(text.count(what, start, end) for what in (b'"', b'\\"', b'\\\\"')))
    found = np.zeros(3, np.int64)
    for at in range(start, end, _STRIDE_BYTES):
        # Two bytes of the stride before: what stands behind backslashes may begin there.
        first = max(start, at - 2)
        part = np.frombuffer(text, np.uint8, min(end, at + _STRIDE_BYTES) - first, first)
        quotes = part == _QUOTE
        found[0] += np.count_nonzero(quotes[at - first :])
        backslashes = part == _BACKSLASH
        if backslashes.any():
            found[1:] += _escaped(quotes, backslashes, at - first)
    return Quotes(*map(int, found))


def _escaped(quotes: np.ndarray, backslashes: np.ndarray, seen: int) -> tuple[int, int]:
    """Quotes behind one backslash, and behind two, from place `seen` on."""
    once = quotes[1:] & backslashes[:-1]
    twice = once[1:] & backslashes[:-2]
    return int(np.count_nonzero(once[max(0, seen - 1) :])), int(np.count_nonzero(twice[max(0, seen - 2) :]))


def count_openings(text: bytes) -> int:
    """Marks that open a list or an object, those in texts included."""
    if len(text) <= SMALL_BYTES:
        return text.count(b"[") + text.count(b"{")
    found = 0
    for at in range(0, len(text), _STRIDE_BYTES):
        part = np.frombuffer(text, np.uint8, min(_STRIDE_BYTES, len(text) - at), at)
        found += int(np.count_nonzero(part == _LIST)) + int(np.count_nonzero(part == _OBJECT))
    return found
