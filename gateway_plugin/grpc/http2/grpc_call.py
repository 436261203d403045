"""One gRPC call on a stream: hands its messages to its `CallHandler`, sends what that says.

No task and no future per message. A handler that is busy holds its stream: complete messages wait in a backlog, and
the stream's window is not given back.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway_plugin.grpc.calls import INTERNAL, OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Refusing, TooMuch
from gateway_plugin.grpc.http2.grpc_framing import (
    CONTENT_TYPE,
    DEADLINE_EXCEEDED,
    OK_TRAILERS,
    PREFIX,
    RESPONSE_HEADERS,
    http_refusal,
    timeout_seconds,
    trailers,
)
from gateway_plugin.grpc.http2.grpc_messages import MessageStream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway_plugin.grpc.calls import CallHandler, Methods
    from gateway_plugin.grpc.http2.fields import StreamHead
    from gateway_plugin.grpc.http2.stream import Peer

    CallLater = Callable[[float, Callable[[], object]], asyncio.TimerHandle]

logger = logging.getLogger(__name__)

_WAITING_MESSAGE_BYTES = 64
"""What a waiting message costs beyond its content."""
_REFUSAL = b"This port speaks gRPC.\n"


class GrpcCall(MessageStream):
    """A stream that carries a call; for its handler it is the `Call`."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_call_later",
        "_half_closed",
        "_handler",
        "_head",
        "_inside",
        "_kept_bytes",
        "_memory_timer",
        "_methods",
        "_refusal",
        "_timer",
        "_waiting",
    )

    def __init__(self, methods: Methods, call_later: CallLater, connection: Peer, stream_id: int) -> None:
        MessageStream.__init__(self, connection, stream_id)
        self._methods = methods
        self._call_later = call_later
        self._handler: CallHandler | None = None
        self._head: StreamHead | None = None
        self._inside = False  # a method of the handler is running
        self._half_closed = False
        self._refusal = b""  # the HTTP status for a client that does not speak gRPC
        self._timer: asyncio.TimerHandle | None = None
        self._memory_timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._backlog: deque[bytes] | None = None
        self._backlog_bytes = 0
        self._kept_bytes = 0  # of the process's memory, by the busy handler

    # What the handler calls.

    @property
    def traceparent(self) -> str:
        """See `Call`."""
        return self._head.traceparent.decode("latin-1") if self._head is not None else ""

    @property
    def fingerprint(self) -> bytes:
        """See `Call`."""
        return self._head.fingerprint if self._head is not None else b""

    def send(self, message: bytes) -> None:
        """Queues one message; see `Call`."""
        if self.over:
            return
        sender = self.connection.sender
        if not self.answered:
            sender.headers(self, RESPONSE_HEADERS)
        sender.data(self, message, PREFIX.pack(0, len(message)))

    def finish(self, status: int = OK, text: str = "") -> None:
        """Ends the call; see `Call`."""
        if self.over:
            return
        self.over = True
        sender = self.connection.sender
        if self.answered:
            sender.finish(self, trailers(status, text) if status or text else OK_TRAILERS)
        else:
            sender.headers(self, RESPONSE_HEADERS + trailers(status, text), end=True)
        if not self._inside:
            self._end()

    # What the connection calls.

    def opened(self, head: StreamHead) -> None:
        """Finds the method."""
        self._head = head
        if head.content_type != CONTENT_TYPE or head.method != b"POST":
            self._refusal = http_refusal(head)
            if self._refusal:
                self.over = True
                return
        method = self._methods.get(head.path.decode("latin-1"))
        if method is None:
            self.finish(UNIMPLEMENTED, "no such method")
            return
        if head.grpc_timeout and not self._start_timer(head.grpc_timeout):
            return
        self._inside = True
        try:
            self._handler = method(self)
        except Exception:
            logger.exception("a call failed")
            self.finish(INTERNAL, "internal error")
        self._inside = False
        if self.over:
            self._end()

    def headers_too_large(self) -> None:
        """Refused before anything was read."""
        self.finish(RESOURCE_EXHAUSTED, "request metadata is too large")

    def message(self, message: bytes) -> None:
        """Now, or when the handler is free."""
        if self.holding:
            self.let_go()
            self._wait_in_backlog(message)
            return
        handler, busy = self._handler, None
        assert handler is not None
        self._inside = True
        try:
            busy = handler.received(message)
        except Exception:
            logger.exception("a call failed")
            self.finish(INTERNAL, "internal error")
        if busy is not None and not busy.done():
            self._waiting = busy
            self.holding = True
            self._keep(len(message))
            busy.add_done_callback(self._handler_is_free)
        elif self.queue is not None and self.queued_bytes > self.connection.bounds.queued_bytes_per_stream:
            self.holding = True
        self._inside = False
        if self._taken_bytes:
            self.let_go()
        if self.over:
            self._end()

    def refused(self, status: int, text: str) -> None:
        """Something of the client cannot be taken."""
        self.finish(status, text)

    def too_large(self, text: str) -> None:
        """A message exceeds the bound; the handler may have a last word."""
        self._refuse_message(text, TooMuch.MESSAGE)

    def no_memory(self) -> None:
        """A message finds no place in memory; the handler may have a last word."""
        self._refuse_message("no memory for this message", TooMuch.MEMORY)

    def waits_for_memory(self) -> None:
        """For a while."""
        self._memory_timer = self._call_later(self.connection.bounds.memory_wait_seconds, self.no_memory)

    def granted(self) -> None:
        """There is memory for the message that is arriving."""
        self._stop_memory_timer()
        super().granted()

    def take_more(self) -> None:
        """Unless the handler is busy with an earlier message."""
        if self._waiting is None:
            super().take_more()

    def let_go(self) -> None:
        """The message needs no memory any more."""
        self._stop_memory_timer()
        super().let_go()

    def half_closed(self) -> None:
        """The client's last message has come."""
        self._half_closed = True
        if self._refusal:
            self._refuse_http()
        elif self._partial is not None:
            self.finish(INTERNAL, "the stream ended inside a message")
        elif not self.holding:
            self._tell_half_closed()

    def drained(self) -> None:
        """The peer took what had waited for its windows."""
        if self.holding and not self._inside:
            self._go_on()

    def closed(self) -> None:
        """The stream is over."""
        if not self.over:
            self.over = True
            if not self._inside:
                self._end()

    def _refuse_message(self, text: str, what: TooMuch) -> None:
        handler: object = self._handler
        if isinstance(handler, Refusing):
            self._inside = True
            try:
                handler.message_refused(text, what)
            except Exception:
                logger.exception("a call failed")
            self._inside = False
        if self.over:
            self._end()
        else:
            self.finish(RESOURCE_EXHAUSTED, text)

    def _stop_memory_timer(self) -> None:
        if self._memory_timer is not None:
            self._memory_timer.cancel()
            self._memory_timer = None

    # What a busy handler keeps, beside which the next message may arrive already.

    def _keep(self, message_bytes: int) -> None:
        """The place in memory of a message, or one for a message that came in one piece."""
        if not self._taken_bytes:
            self.connection.memory.hold(message_bytes)
        self._kept_bytes, self._taken_bytes = self._taken_bytes or message_bytes, 0

    def _free_kept(self) -> None:
        if self._kept_bytes:
            kept, self._kept_bytes = self._kept_bytes, 0
            self.connection.memory.give(kept)

    # Messages that wait.

    def _wait_in_backlog(self, message: bytes) -> None:
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.append(message)
        size = len(message) + _WAITING_MESSAGE_BYTES
        self._backlog_bytes += size
        bounds = self.connection.bounds
        if self.keep(size) and self._backlog_bytes > bounds.stream_window_bytes + bounds.max_message_bytes:
            self.finish(RESOURCE_EXHAUSTED, "too many messages wait")

    def _handler_is_free(self, busy: asyncio.Future[Any]) -> None:
        self._waiting = None
        self._free_kept()
        if not busy.cancelled() and busy.exception() is not None:
            logger.error("a call failed", exc_info=busy.exception())
            self.finish(INTERNAL, "internal error")
        self._go_on()

    def _go_on(self) -> None:
        """Delivers what waited, until the handler or the peer holds the stream again."""
        if self.over or self._waiting is not None:
            return
        self.holding = self._claims
        while self._backlog and not self.holding and not self.over:
            message = self._backlog.popleft()
            size = len(message) + _WAITING_MESSAGE_BYTES
            self._backlog_bytes -= size
            self.connection.buffered_bytes -= size
            self.message(message)
        if self.holding or self.over:
            return
        if self._half_closed:
            self._tell_half_closed()
        else:
            self.connection.replenish(self)

    def _tell_half_closed(self) -> None:
        handler = self._handler
        if handler is None:
            return
        self._inside = True
        try:
            handler.half_closed()
        except Exception:
            logger.exception("a call failed")
            self.finish(INTERNAL, "internal error")
        self._inside = False
        if self.over:
            self._end()

    # Ends.

    def _end(self) -> None:
        """Lets go of everything, and tells the handler; once, and not while one of its methods runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.let_go()
        self._free_kept()
        if self._partial is not None:
            self.drop_partial()
        if self._backlog is not None:
            self.connection.buffered_bytes -= self._backlog_bytes
            self._backlog, self._backlog_bytes = None, 0
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.ended()
            except Exception:
                logger.exception("a call's end failed")

    def _refuse_http(self) -> None:
        length = b"%d" % len(_REFUSAL)
        fields = ((b":status", self._refusal), (b"content-type", b"text/plain"), (b"content-length", length))
        sender = self.connection.sender
        sender.headers(self, fields)
        sender.data(self, _REFUSAL)
        sender.finish(self)

    def _start_timer(self, timeout: bytes) -> bool:
        seconds = timeout_seconds(timeout)
        if seconds is None:
            self.finish(INTERNAL, "grpc-timeout is malformed")
            return False
        self._timer = self._call_later(seconds, self._expired)
        return True

    def _expired(self) -> None:
        if self.queue is not None:
            self.connection.reset(self)  # a status would wait behind messages that the client does not take
        self.finish(DEADLINE_EXCEEDED, "deadline exceeded")
