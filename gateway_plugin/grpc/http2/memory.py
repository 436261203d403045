"""What all connections of a process keep of messages that are incomplete, or with a handler that is busy: one budget.

The bounds of connections do not add up to a bound of the process, and flow control alone cannot be one: streams that
hold a part each and get no window for the rest would wait for each other. So a message that does not come in one piece
asks for its whole size, which its prefix tells. There is room for it, or its stream gets no window until there is,
first come, first served; or it is refused, when many wait already or it waited too long. Small messages never stand
behind large ones: they have a quarter of the budget for themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

MIB = 1024 * 1024
SMALL_BYTES = MIB
_MAX_WAITING = 128
"""Large messages that wait for memory; more are refused at once."""


class Claimant(Protocol):
    """A stream whose message waits for memory."""

    def granted(self) -> None:
        """There is room now, and it is taken."""


class MessageMemory:
    """Counts bytes; small messages may use all of `limit_bytes`, others three quarters."""

    def __init__(self, limit_bytes: int) -> None:
        self.used_bytes = 0
        self._limit_bytes = limit_bytes
        self._large_limit_bytes = limit_bytes * 3 // 4
        self._waiting: OrderedDict[Claimant, int] = OrderedDict()

    def take(self, size: int) -> bool:
        """False when there is no room now."""
        if size > SMALL_BYTES and self._waiting:
            return False
        return self._take(size)

    def hold(self, size: int) -> None:
        """Counts what is there already."""
        self.used_bytes += size

    def give(self, size: int) -> None:
        """Lets go of what was taken or held; those who wait may find room."""
        self.used_bytes -= size
        self._serve()

    def wait(self, size: int, claimant: Claimant) -> bool:
        """Waits for room; False when too many do, or there can never be enough."""
        if len(self._waiting) >= _MAX_WAITING or size > self._limit_of(size):
            return False
        self._waiting[claimant] = size
        return True

    def forget(self, claimant: Claimant) -> None:
        """It waits no more; safe to call for one that does not."""
        if self._waiting.pop(claimant, None) is not None:
            self._serve()

    def _serve(self) -> None:
        while self._waiting:
            claimant, wanted = next(iter(self._waiting.items()))
            if not self._take(wanted):
                return
            del self._waiting[claimant]
            claimant.granted()

    def _take(self, size: int) -> bool:
        if self.used_bytes + size > self._limit_of(size):
            return False
        self.used_bytes += size
        return True

    def _limit_of(self, size: int) -> int:
        return self._limit_bytes if size <= SMALL_BYTES else self._large_limit_bytes
