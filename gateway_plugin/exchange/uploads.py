"""Exchanges that wait for their client to send the body: they cost places here, and are no work.

Without bounds of their own, one client that opens requests and never ends them would fill the process for everybody.
So they are counted apart from work, by source address, and each has a deadline. Large ones are bounded in bytes, too,
as their clients announce them: Envoy keeps a body until it is whole. Small ones never wait for those.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway_plugin.exchange.intent.identity import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable


_MAX_DIGITS = 18


class Uploading(Protocol):
    """What waits for a body."""

    def upload_timed_out(self) -> None:
        """It took too long."""


class UploadBounds(msgspec.Struct, frozen=True):
    """How many may wait, and how long; 0 is no bound."""

    total: int = 0
    per_source: int = 0
    seconds: float = 0.0
    total_bytes: int = 0
    """Of bodies above SMALL_BYTES; one source may announce half of it."""


SMALL_BYTES = 1024 * 1024
UNKNOWN_LENGTH_BYTES = 8 * SMALL_BYTES
"""What a body counts for that does not say how long it is. Few clients send such, and short ones wait a moment."""


def announced_bytes(content_length: str) -> int:
    """What a body counts for."""
    if not (content_length.isascii() and content_length.isdecimal()) or len(content_length) > _MAX_DIGITS:
        return UNKNOWN_LENGTH_BYTES
    length = int(content_length)
    return length if length > SMALL_BYTES else 0


class _Held(msgspec.Struct, gc=False):
    """What one source holds."""

    number: int = 0
    large_bytes: int = 0


class Uploads:
    """Who waits, the oldest first: all have the same time, so that is also who is due first."""

    def __init__(self, bounds: UploadBounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self._clock = clock
        self._total = bounds.total or math.inf
        self._per_source = bounds.per_source or math.inf
        self._total_bytes = bounds.total_bytes or math.inf
        self.waiting: dict[Uploading, tuple[str, float, int]] = {}
        """With source, time of entry and size; others read its length."""
        self._by_source: dict[str, _Held] = {}
        self.large_bytes = 0
        """Announced by those who wait."""

    def enter(self, source: str, upload: Uploading, size: int = 0) -> bool:
        """False when there are too many, or too many of this source; those without one share no bound."""
        held = self._by_source.get(source) or _Held()
        if len(self.waiting) >= self._total or self.large_bytes + size > self._total_bytes:
            return False
        if source != UNKNOWN and (held.number >= self._per_source or held.large_bytes + size > self._total_bytes / 2):
            return False
        held.number += 1
        held.large_bytes += size
        self._by_source[source] = held
        self.large_bytes += size
        self.waiting[upload] = source, self._clock(), size
        return True

    def leave(self, upload: Uploading) -> None:
        """The body is there, or nobody waits for it any more; safe to call for one that does not wait."""
        found = self.waiting.pop(upload, None)
        if found is None:
            return
        source, _, size = found
        held = self._by_source[source]
        held.number -= 1
        held.large_bytes -= size
        self.large_bytes -= size
        if not held.number:
            del self._by_source[source]

    def expire(self) -> None:
        """Tells those that took too long; called about once a second."""
        if not self.bounds.seconds:
            return
        before = self._clock() - self.bounds.seconds
        while self.waiting:
            upload, (_, since, _) = next(iter(self.waiting.items()))
            if since > before:
                return
            self.leave(upload)
            upload.upload_timed_out()
