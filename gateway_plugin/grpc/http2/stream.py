"""One stream of HTTP/2: its state (RFC 9113, 5.1), its windows (5.2), and the hooks of whoever lives on it.

A state changes by the table `TRANSITIONS` and in no other way; what is not in the table is a violation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable

    from gateway_plugin.grpc.http2.bounds import Bounds
    from gateway_plugin.grpc.http2.closed_streams import ClosedStreams
    from gateway_plugin.grpc.http2.fields import StreamHead
    from gateway_plugin.grpc.http2.hpack_static import Field
    from gateway_plugin.grpc.http2.memory import MessageMemory

# Plain numbers: an Enum costs a call per lookup, and there are lookups for every frame.
IDLE: Final = 0
OPEN: Final = 1
HALF_CLOSED_REMOTE: Final = 2
HALF_CLOSED_LOCAL: Final = 3
CLOSED: Final = 4

RECEIVE_HEADERS: Final = 10
RECEIVE_DATA: Final = 11
RECEIVE_END: Final = 12
SEND: Final = 13
SEND_END: Final = 14
RESET: Final = 15

TRANSITIONS: Final[dict[tuple[int, int], int]] = {
    (IDLE, RECEIVE_HEADERS): OPEN,
    (OPEN, RECEIVE_HEADERS): OPEN,  # trailers
    (OPEN, RECEIVE_DATA): OPEN,
    (OPEN, RECEIVE_END): HALF_CLOSED_REMOTE,
    (OPEN, SEND): OPEN,
    (OPEN, SEND_END): HALF_CLOSED_LOCAL,
    (OPEN, RESET): CLOSED,
    (HALF_CLOSED_REMOTE, SEND): HALF_CLOSED_REMOTE,
    (HALF_CLOSED_REMOTE, SEND_END): CLOSED,
    (HALF_CLOSED_REMOTE, RESET): CLOSED,
    (HALF_CLOSED_LOCAL, RECEIVE_HEADERS): HALF_CLOSED_LOCAL,
    (HALF_CLOSED_LOCAL, RECEIVE_DATA): HALF_CLOSED_LOCAL,
    (HALF_CLOSED_LOCAL, RECEIVE_END): CLOSED,
    (HALF_CLOSED_LOCAL, RESET): CLOSED,
}


AFTER_RECEIVED_END: Final = {state: after for (state, what), after in TRANSITIONS.items() if what == RECEIVE_END}
AFTER_SENT_END: Final = {state: after for (state, what), after in TRANSITIONS.items() if what == SEND_END}
TAKES_DATA: Final = frozenset(state for state, what in TRANSITIONS if what == RECEIVE_DATA)
"""The states in which the peer may send DATA."""


class Stream:
    """A stream, made by a connection when its first HEADERS arrive. Subclasses override the hooks."""

    __slots__ = (
        "answered",
        "body_left",
        "connection",
        "holding",
        "id",
        "queue",
        "queued_bytes",
        "receive_window",
        "send_window",
        "state",
        "trailers",
    )

    def __init__(self, connection: Peer, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.state = IDLE
        self.send_window = 0
        self.receive_window = 0
        self.body_left = -1
        """Bytes that content-length still promises; negative without one."""
        self.holding = False
        """True while the hooks' owner takes no more data: the receive window is not given back."""
        self.answered = False
        """True once anything was sent."""
        self.queue: deque[memoryview] | None = None
        """DATA that the peer's windows do not allow yet."""
        self.queued_bytes = 0
        self.trailers: tuple[Field, ...] | None = None
        """Sent when the queue is empty; no fields are an empty DATA frame that ends the stream."""

    def opened(self, head: StreamHead) -> None:
        """A valid request."""

    def headers_too_large(self) -> None:
        """A request whose header list exceeds the bound."""

    def data(self, buffer: bytes, start: int, end: int) -> None:
        """Bytes `start` to `end` of `buffer` are the next of the body."""

    def half_closed(self) -> None:
        """The peer ended its side."""

    def drained(self) -> None:
        """The queue, which was not empty, is."""

    def closed(self) -> None:
        """The stream is over, whatever the cause. Called once."""

    def __repr__(self) -> str:
        names = {IDLE: "idle", OPEN: "open", HALF_CLOSED_REMOTE: "half-closed (remote)"}
        names |= {HALF_CLOSED_LOCAL: "half-closed (local)", CLOSED: "closed"}
        return f"<Stream {self.id} {names[self.state]}, {self.queued_bytes} bytes queued>"


class Outbound(Protocol):
    """What leaves a connection."""

    initial_window: int

    def control(self, frame_bytes: bytes) -> None: ...

    def headers(self, stream: Stream, fields: tuple[Field, ...], *, end: bool = False) -> None: ...

    def data(self, stream: Stream, payload: bytes, before: bytes = b"") -> None: ...

    def finish(self, stream: Stream, trailers: tuple[Field, ...] = ()) -> None: ...

    def window_update(self, stream: Stream | None, increment: int) -> None: ...

    def change_initial_window(self, size: int, streams: Iterable[Stream]) -> None: ...

    def max_frame(self, size: int) -> None: ...

    def header_table(self, size: int) -> None: ...


class Peer(Protocol):
    """A connection, as its parts and its streams see it."""

    bounds: Bounds
    new_stream: Callable[[Peer, int], Stream]
    streams: dict[int, Stream]
    max_streams: int
    last_stream_id: int
    closed_streams: ClosedStreams
    buffered_bytes: int
    memory: MessageMemory

    @property
    def sender(self) -> Outbound: ...

    def reset(self, stream: Stream, code: int = ...) -> None: ...

    def replenish(self, stream: Stream) -> None: ...

    def received_end(self, stream: Stream) -> None: ...

    def sent_end(self, stream: Stream) -> None: ...

    def close(self, stream: Stream, *, ours: bool) -> None: ...
