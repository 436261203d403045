"""Exchanges that wait for their client to send the body: they cost places here, and are no work.

Without bounds of their own, one client that opens requests and never ends them would fill the process for everybody.
So they are counted apart from work, by source address, and each has a deadline. Large ones are bounded in bytes, too,
as their clients announce them: Envoy keeps a body until it is whole. And as reading one holds up everybody, for up to
3 ms a MiB, a source that has sent more of them than its rate waits until its account is even, while anybody else asks
for anything. Small ones never wait.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway_plugin.exchange.intent.identity import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable


_MAX_DIGITS = 18
"""Of a content-length; 2^63 has 19."""
_FULL_SECONDS = 2.0
"""Of its rate that a source may be ahead, or behind: who had the gateway for itself is not in debt for long."""
_TOGETHER_SECONDS = 1.0
"""Since another source asked; later, nobody is held up by anybody."""
_MAX_ACCOUNTS = 10_000
"""Sources whose rate is kept; the one used longest ago goes."""


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
    source_bytes_per_second: int = 0
    """Of such bodies, as announced, or else as they came; two seconds' worth before anybody waits."""


SMALL_BYTES = 1024 * 1024
"""Bodies up to it are not counted by bytes."""
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


class _Account(msgspec.Struct, gc=False):
    """What a source may still send: bytes, less than none when it has sent too much."""

    left: float
    at_seconds: float


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
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        """Of sources that sent large bodies lately."""
        self._last_source = ""
        self._changed_seconds = -math.inf
        """When the source was last another than before."""

    def enter(self, source: str, upload: Uploading, size: int = 0) -> bool:
        """False when there are too many, or too many of this source; those without one share no bound."""
        if source != self._last_source:
            if self._last_source:
                self._changed_seconds = self._clock()
            self._last_source = source
        held = self._by_source.get(source) or _Held()
        if len(self.waiting) >= self._total or self.large_bytes + size > self._total_bytes:
            return False
        if source != UNKNOWN and (held.number >= self._per_source or held.large_bytes + size > self._total_bytes / 2):
            return False
        if size and self._accounts and not self._may_send(source):
            return False
        if size and size != UNKNOWN_LENGTH_BYTES:
            self._book(source, size)
        held.number += 1
        held.large_bytes += size
        self._by_source[source] = held
        self.large_bytes += size
        self.waiting[upload] = source, self._clock(), size
        return True

    def leave(self, upload: Uploading, came_bytes: int = 0) -> None:
        """The body is there, or nobody waits for it any more; safe to call for one that does not wait."""
        found = self.waiting.pop(upload, None)
        if found is None:
            return
        source, _, size = found
        if came_bytes > SMALL_BYTES and size == UNKNOWN_LENGTH_BYTES:
            self._book(source, came_bytes)
        held = self._by_source[source]
        held.number -= 1
        held.large_bytes -= size
        self.large_bytes -= size
        if not held.number:
            del self._by_source[source]

    def _may_send(self, source: str) -> bool:
        account = self._accounts.get(source)
        if account is None or self._refilled(account).left > 0:
            return True
        return self._clock() - self._changed_seconds >= _TOGETHER_SECONDS

    def _book(self, source: str, came_bytes: int) -> None:
        rate = self.bounds.source_bytes_per_second
        if not rate or source == UNKNOWN:
            return
        account = self._accounts.get(source) or _Account(_FULL_SECONDS * rate, self._clock())
        self._refilled(account)
        account.left = max(account.left - came_bytes, -_FULL_SECONDS * rate)
        self._accounts[source] = account
        self._accounts.move_to_end(source)
        if len(self._accounts) > _MAX_ACCOUNTS:
            self._accounts.popitem(last=False)

    def _refilled(self, account: _Account) -> _Account:
        now, rate = self._clock(), self.bounds.source_bytes_per_second
        account.left = min(_FULL_SECONDS * rate, account.left + (now - account.at_seconds) * rate)
        account.at_seconds = now
        return account

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
