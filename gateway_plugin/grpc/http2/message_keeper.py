"""When a connection is too quiet, and what to do about it: a decision without I/O, asked once a second or so.

preface, with TLS, not complete in `preface_seconds`      ABORT
peer reads nothing for `write_stall_seconds`              ABORT
nothing heard for `ping_after_seconds`                    PING, and ABORT when nothing follows
no stream for `idle_seconds`                              DRAIN, and ABORT when that is not followed
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_plugin.grpc.http2.bounds import Bounds


class Due(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    PING = "ping"
    DRAIN = "drain"
    ABORT = "abort"


class Keeper:
    """The times of one connection."""

    __slots__ = ("_bounds", "_busy_at", "_drained_at", "_pinged_at", "_started_at", "heard_at", "stalled_at")

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._bounds = bounds
        self._started_at = self._busy_at = self.heard_at = now
        self._pinged_at: float | None = None
        self._drained_at: float | None = None
        self.stalled_at: float | None = None
        """Since when the peer reads less than we write; None when it keeps up."""

    def due(self, now: float, *, greeted: bool, streams: int) -> Due:
        """Decides; the caller does."""
        bounds = self._bounds
        if not greeted and now - self._started_at >= bounds.preface_seconds:
            return Due.ABORT
        if self.stalled_at is not None and now - self.stalled_at >= bounds.write_stall_seconds:
            return Due.ABORT
        if self._drained_at is not None and not streams and now - self._drained_at >= bounds.ping_timeout_seconds:
            return Due.ABORT
        if streams:
            self._busy_at = now
        elif now - self._busy_at >= bounds.idle_seconds and self._drained_at is None:
            self._drained_at = now
            return Due.DRAIN
        return self._silence(now)

    def _silence(self, now: float) -> Due:
        if self._pinged_at is not None and self.heard_at >= self._pinged_at:
            self._pinged_at = None
        if self._pinged_at is not None:
            return Due.ABORT if now - self._pinged_at >= self._bounds.ping_timeout_seconds else Due.NOTHING
        # While the peer reads nothing it is not asked either; the stall has its own bound.
        if self.stalled_at is None and now - self.heard_at >= self._bounds.ping_after_seconds:
            self._pinged_at = now
            return Due.PING
        return Due.NOTHING
