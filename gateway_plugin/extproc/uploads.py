"""Exchanges that wait for their client to send the body: they cost places here, and are no work.

Without bounds of their own, one client that opens requests and never ends them would fill the process for everybody.
So they are counted apart from work, by source address, and each has a deadline.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway_plugin.intent.sources import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable


class Uploading(Protocol):
    """What waits for a body."""

    def upload_timed_out(self) -> None:
        """It took too long."""


class UploadBounds(msgspec.Struct, frozen=True):
    """How many may wait, and how long; 0 is no bound."""

    total: int = 0
    per_source: int = 0
    seconds: float = 0.0


class Uploads:
    """Who waits, the oldest first: all have the same time, so that is also who is due first."""

    def __init__(self, bounds: UploadBounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self._clock = clock
        self._total = bounds.total or math.inf
        self._per_source = bounds.per_source or math.inf
        self._waiting: dict[Uploading, tuple[str, float]] = {}
        self._by_source: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, source: str, upload: Uploading) -> bool:
        """False when there are too many, or too many of this source; those without one share no bound."""
        count = self._by_source.get(source, 0)
        if (source != UNKNOWN and count >= self._per_source) or len(self._waiting) >= self._total:
            return False
        self._by_source[source] = count + 1
        self._waiting[upload] = source, self._clock()
        return True

    def leave(self, upload: Uploading) -> None:
        """The body is there, or nobody waits for it any more; safe to call for one that does not wait."""
        found = self._waiting.pop(upload, None)
        if found is None:
            return
        source = found[0]
        count = self._by_source[source] - 1
        if count:
            self._by_source[source] = count
        else:
            del self._by_source[source]

    def expire(self) -> None:
        """Tells those that took too long; called about once a second."""
        if not self.bounds.seconds:
            return
        before = self._clock() - self.bounds.seconds
        while self._waiting:
            upload, (_, since) = next(iter(self._waiting.items()))
            if since > before:
                return
            self.leave(upload)
            upload.upload_timed_out()
