"""Everything a peer can make us keep or do, with its bound and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many per second after that."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one connection, where nothing else is said."""

    max_message_bytes: int = 65 * MIB
    """A larger gRPC message ends its call with RESOURCE_EXHAUSTED."""
    max_concurrent_streams: int = 32_768
    """A held HTTP exchange is a stream; at 10 KB each this is 320 MB. Envoy opens another connection beyond."""
    max_frame_bytes: int = MIB
    """DATA is taken as it arrives, never as a whole frame, so large frames cost no memory and save headers."""
    stream_window_bytes: int = MIB // 2
    """What may arrive of a message before it has its place in memory, or while the handler is busy, per stream."""
    connection_window_bytes: int = 32 * MIB
    """Given back at once; large, so that a round trip never stalls large bodies."""
    buffered_bytes: int = 256 * MIB
    """Incomplete and waiting messages of all streams; the stream that exceeds it gets RESOURCE_EXHAUSTED."""
    memory_bytes: int = 160 * MIB
    """The same of all connections of a listener, see `memory`."""
    memory_wait_seconds: float = 3.0
    """A message that gets no place in memory for so long is refused; shorter than Envoy's patience."""
    queued_bytes_per_stream: int = 64 * KIB
    """Replies that the peer's windows hold back before we stop reading messages of that stream."""
    header_list_bytes: int = 64 * KIB
    """Of a decoded header list (RFC 9113, 6.5.2), and of a block as sent. Envoy itself takes 60 KiB."""
    header_table_bytes: int = 4 * KIB
    """Dynamic table of the decoder; the protocol's default."""
    continuation_frames: int = 32
    """In one header block, however small each is."""

    pings: Rate = Rate(1000, 50)
    """grpc's bandwidth probes ping up to ten times a second."""
    settings_frames: Rate = Rate(100, 1)
    """Each may touch every stream. Peers send one or two in a connection's life."""
    empty_frames: Rate = Rate(1000, 100)
    """Empty DATA without an end, PRIORITY, frames of unknown type: all without any use here."""
    unanswered_resets: Rate = Rate(50_000, 20_000)
    """Streams that the peer resets before any answer ("rapid reset"). Envoy does that when clients leave early, or when
    answers take longer than message_timeout. One client that gives requests up as fast as it can must not cost all
    others the connection: only more than a process can take in is a fault of the peer."""
    faulty_streams: Rate = Rate(1000, 50)
    """Streams ended by RST_STREAM for faults of the peer."""

    preface_seconds: float = 10.0
    """For TLS and the connection preface with SETTINGS."""
    ping_after_seconds: float = 60.0
    """Of silence: then the peer is asked whether it is alive."""
    ping_timeout_seconds: float = 20.0
    """For the answer, and for any other sign of life."""
    idle_seconds: float = 1800.0
    """Without a stream: then the connection is closed gracefully. Envoy opens a new one when it needs it."""
    write_stall_seconds: float = 30.0
    """A peer that reads nothing for so long is cut off."""


class Budget:
    """Spends a `Rate`; asks the clock only when the burst is used up."""

    __slots__ = ("_clock", "_filled_at", "_left", "_rate")

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = rate.burst
        self._filled_at = clock()

    def spend(self) -> bool:
        """False when there is nothing left."""
        if self._left < 1.0:
            now = self._clock()
            self._left = min(self._rate.burst, self._left + (now - self._filled_at) * self._rate.per_second)
            self._filled_at = now
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True
