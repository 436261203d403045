"""Compressed request bodies: what they say is read, counted and sent on as it was before it was compressed.

zlib works outside of Python's lock: what is short is unpacked at once, the rest is for a thread, and the loop goes on.
Bounds: a body may not become longer than any other may be, nor a hundred times as long as it came.
"""

from __future__ import annotations

import zlib

from gateway_plugin.exchange.intent import rejections

_FORMATS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""As zlib calls the containers; `deflate` is HTTP's word for zlib's."""
_AT_ONCE_BYTES = 256 * 1024
"""Of what is unpacked on the event loop; more is a thread's work."""
_MAX_RATIO = 100
"""Of unpacked to packed: text has 3 to 10, a bomb 1,000."""
_FREE_BYTES = 1024 * 1024
"""Of which no ratio is asked: short texts that repeat themselves."""


class Unpacking:
    """One body. Its methods raise ApiError: 415, 400 for what is not whole or not all, 413."""

    def __init__(self, encoding: str, body: bytes, max_bytes: int) -> None:
        wbits = _FORMATS.get(encoding)
        if wbits is None:
            raise rejections.unknown_coding(encoding)
        self._inflater = zlib.decompressobj(wbits)
        self._max_bytes = max_bytes
        self._allowed_bytes = min(max_bytes, _FREE_BYTES + _MAX_RATIO * len(body))
        self._first = self._inflated(body, min(_AT_ONCE_BYTES, self._allowed_bytes))

    @property
    def is_done(self) -> bool:
        """Whether `finish` has nothing to compute any more."""
        return self._inflater.eof

    def finish(self) -> bytes:
        """The whole body; for any thread."""
        inflater = self._inflater
        if inflater.eof:
            body = self._first
        else:
            left = self._allowed_bytes - len(self._first)
            # One byte more tells what is longer from what is as long as it may be.
            body = b"".join((self._first, self._inflated(inflater.unconsumed_tail, left + 1)))
        if len(body) > self._max_bytes:
            raise rejections.body_too_large()
        if len(body) > self._allowed_bytes:
            raise rejections.bad_coding(f"it becomes more than {_MAX_RATIO} times as long")
        if not inflater.eof:
            raise rejections.bad_coding("it is not complete")
        if inflater.unused_data:
            raise rejections.bad_coding("something follows it")
        return body

    def _inflated(self, packed: bytes, max_bytes: int) -> bytes:
        try:
            return self._inflater.decompress(packed, max_bytes)
        except zlib.error:
            raise rejections.bad_coding("it is damaged") from None
