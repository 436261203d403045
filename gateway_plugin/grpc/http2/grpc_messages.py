"""Finds gRPC messages in a stream's DATA, however that is split; keeps what is incomplete, within bounds.

A message that arrived in one piece is cut from the socket's bytes directly; one that did not grows in one buffer, when
there is memory for all of it (`memory`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.grpc.calls import RESOURCE_EXHAUSTED, UNIMPLEMENTED
from gateway_plugin.grpc.http2.grpc_framing import PREFIX, PREFIX_BYTES
from gateway_plugin.grpc.http2.stream import Stream

if TYPE_CHECKING:
    from gateway_plugin.grpc.http2.stream import Peer


class MessageStream(Stream):
    """A stream of messages; a subclass says what happens to them."""

    __slots__ = ("_claims", "_needed", "_partial", "_taken_bytes", "over")

    def __init__(self, connection: Peer, stream_id: int) -> None:
        Stream.__init__(self, connection, stream_id)
        self.over = False
        """True when no message is wanted any more."""
        self._partial: bytearray | None = None
        self._needed = PREFIX_BYTES  # bytes of that message with its prefix, as far as it is known
        self._taken_bytes = 0  # of the process's memory
        self._claims = False  # it waits for memory

    def message(self, message: bytes) -> None:
        """The next message."""

    def refused(self, status: int, text: str) -> None:
        """A message cannot be taken; must set `over`."""

    def too_large(self, text: str) -> None:
        """A message exceeds the bound of one message; must set `over`."""

    def no_memory(self) -> None:
        """A message finds no place in memory; must set `over`."""

    def waits_for_memory(self) -> None:
        """From now on, until `granted`, or a deadline of the subclass."""

    def granted(self) -> None:
        """There is memory for the message that is arriving: the rest may come."""
        self._claims = False
        self._taken_bytes = self._needed
        self.take_more()

    def take_more(self) -> None:
        """The stream's window is given back again."""
        self.holding = False
        self.connection.replenish(self)

    def let_go(self) -> None:
        """The memory of the message is free again, or not waited for any more."""
        if self._claims:
            self._claims = False
            self.connection.memory.forget(self)
        if self._taken_bytes:
            taken, self._taken_bytes = self._taken_bytes, 0
            self.connection.memory.give(taken)

    def data(self, buffer: bytes, start: int, end: int) -> None:
        """Finds the messages in a part of the body."""
        while start < end and not self.over:
            if self._partial is None and end - start >= PREFIX_BYTES:
                compressed, size = PREFIX.unpack_from(buffer, start)
                if compressed or size > self.connection.bounds.max_message_bytes:
                    self._refuse(compressed, size)
                    return
                stop = start + PREFIX_BYTES + size
                if stop <= end:
                    self.message(buffer[start + PREFIX_BYTES : stop])
                    start = stop
                    continue
            start = self._gather(buffer, start, end)

    def keep(self, size: int) -> bool:
        """Counts what this connection keeps; false when that is too much, and the stream is over."""
        connection = self.connection
        connection.buffered_bytes += size
        if connection.buffered_bytes <= connection.bounds.buffered_bytes:
            return True
        self.refused(RESOURCE_EXHAUSTED, "too much waits on this connection")
        return False

    def drop_partial(self) -> None:
        """Forgets an incomplete message."""
        if self._partial is not None:
            self.connection.buffered_bytes -= len(self._partial)
            self._partial = None
            self._needed = PREFIX_BYTES

    def _gather(self, buffer: bytes, start: int, end: int) -> int:
        """Takes part of a message; returns where the next part or message starts."""
        if self._partial is None:
            self._partial = bytearray()
        stop = min(end, start + self._needed - len(self._partial))
        self._partial += memoryview(buffer)[start:stop]
        if not self.keep(stop - start) or len(self._partial) < self._needed:
            return stop
        if self._needed == PREFIX_BYTES:
            compressed, size = PREFIX.unpack(self._partial)
            if compressed or size > self.connection.bounds.max_message_bytes:
                self._refuse(compressed, size)
                return end
            self._needed += size
            if not self._claim():
                return end
        if len(self._partial) == self._needed:
            message = bytes(memoryview(self._partial)[PREFIX_BYTES:])
            self.drop_partial()
            if self._claims:
                # It came within the stream's window: now it is here.
                self.let_go()
                self.take_more()
            self.message(message)
        return stop

    def _claim(self) -> bool:
        """Takes memory for the message, or waits for it without giving more window; false when it was refused."""
        memory, size = self.connection.memory, self._needed
        if memory.take(size):
            self._taken_bytes = size
        elif memory.wait(size, self):
            self._claims = self.holding = True
            self.waits_for_memory()
        else:
            self.no_memory()
            return False
        return True

    def _refuse(self, compressed: int, size: int) -> None:
        if compressed:
            self.refused(UNIMPLEMENTED, "messages must not be compressed")
        else:
            limit = self.connection.bounds.max_message_bytes
            self.too_large(f"a message of {size} bytes exceeds the limit of {limit}")
