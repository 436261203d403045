"""Which streams were closed lately, and by whom: frames may be under way on those that we ended (RFC 9113, 5.1)."""

from __future__ import annotations

from array import array

_REMEMBERED = 4096
"""More than Envoy has in flight within a round trip."""


class ClosedStreams:
    """A ring by stream number: constant in time and size."""

    def __init__(self) -> None:
        self._ring = array("Q")

    def add(self, stream_id: int, *, ours: bool) -> None:
        """Remembers a stream until later ones take its place."""
        if not self._ring:
            self._ring.frombytes(bytes(_REMEMBERED * self._ring.itemsize))
        self._ring[stream_id // 2 % _REMEMBERED] = stream_id << 1 | ours

    def were_ended_by_us(self, stream_id: int) -> bool:
        """Frames on such a stream are ignored."""
        return self._entry(stream_id) == stream_id << 1 | 1

    def were_ended_by_peer(self, stream_id: int) -> bool:
        """Frames on such a stream are a fault."""
        return self._entry(stream_id) == stream_id << 1

    def _entry(self, stream_id: int) -> int:
        return self._ring[stream_id // 2 % _REMEMBERED] if self._ring else 0
