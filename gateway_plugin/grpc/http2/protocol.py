"""The asyncio shell of one connection: bytes from the socket, one write per turn of the loop, backpressure."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, cast

from gateway_plugin.grpc.http2.connection import Connection
from gateway_plugin.grpc.http2.grpc_call import GrpcCall
from gateway_plugin.grpc.http2.grpc_framing import INDEXED_FIELDS
from gateway_plugin.grpc.http2.message_keeper import Due, Keeper

if TYPE_CHECKING:
    from gateway_plugin.grpc.calls import Methods
    from gateway_plugin.grpc.http2.bounds import Bounds
    from gateway_plugin.grpc.http2.memory import MessageMemory

logger = logging.getLogger(__name__)

_WRITE_BUFFER_BYTES = 1024 * 1024
"""Beyond this, nothing is read until the peer has read; replies are small, so Envoy never sees it."""
_ALPN = "h2"


class OpenConnections(set["WireProtocol"]):
    """The connections of a listener, and a way to wait for their end."""

    def __init__(self, maximum: int, memory: MessageMemory | None = None) -> None:
        super().__init__()
        self.maximum = maximum
        self.memory = memory
        """Shared by all of them."""
        self.none = asyncio.Event()
        self.none.set()

    def enter(self, protocol: WireProtocol) -> bool:
        """False when there are too many."""
        if len(self) >= self.maximum:
            return False
        self.add(protocol)
        self.none.clear()
        return True

    def leave(self, protocol: WireProtocol) -> None:
        """Safe to call for one that never entered."""
        self.discard(protocol)
        if not self:
            self.none.set()


class WireProtocol(asyncio.Protocol):
    """One socket; among `open_connections` while it is open."""

    def __init__(
        self,
        methods: Methods,
        bounds: Bounds,
        loop: asyncio.AbstractEventLoop,
        open_connections: OpenConnections,
    ) -> None:
        self._loop = loop
        self._open_connections = open_connections
        self._transport: asyncio.Transport | None = None
        self.keeper = Keeper(bounds, loop.time())
        new_call = partial(GrpcCall, methods, loop.call_later)
        memory = open_connections.memory
        self.connection = Connection(new_call, bounds, loop.time, self._write_soon, INDEXED_FIELDS, memory)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection, and TLS where there is TLS, stand."""
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != _ALPN:
            self.abort("the client does not offer h2 by ALPN")
        elif not self._open_connections.enter(self):
            self.abort("too many connections")
        else:
            self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
            self.connection.start()

    def data_received(self, data: bytes) -> None:
        """Everything there is, and everything it causes."""
        connection = self.connection
        self.keeper.heard_at = self._loop.time()
        connection.sender.hold()
        connection.receive(data)
        self._write()

    def eof_received(self) -> bool:
        """A peer that cannot read us any more needs no answers."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever the cause."""
        if exc is not None:
            logger.debug("connection lost: %s", exc)
        self._transport = None
        self._open_connections.leave(self)
        self.connection.abandon()

    def pause_writing(self) -> None:
        """The peer reads slower than we write: read no more of it."""
        self.keeper.stalled_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.keeper.stalled_at = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def tick(self) -> None:
        """Called about once a second."""
        connection = self.connection
        due = self.keeper.due(self._loop.time(), greeted=connection.greeted, streams=len(connection.streams))
        if due is Due.PING:
            connection.ping()
        elif due is Due.DRAIN:
            self.drain()
        elif due is Due.ABORT:
            self.abort("the peer is silent, idle or does not read")

    def drain(self) -> None:
        """Lets open calls finish, then closes."""
        self.connection.drain()
        self._write()

    def abort(self, why: str) -> None:
        """Closes at once."""
        if self._transport is not None:
            logger.debug("connection of %s aborted: %s", self._transport.get_extra_info("peername"), why)
            self._transport.abort()

    def _write_soon(self) -> None:
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        data = self.connection.sender.take()
        transport = self._transport
        if transport is None:
            return
        if data:
            transport.write(data)
        if self.connection.finished:
            if self.connection.fault is not None:
                # Who never spoke HTTP/2 is a scanner or a probe, and those come in floods.
                level = logging.WARNING if self.connection.greeted else logging.DEBUG
                logger.log(level, "%s: %s", transport.get_extra_info("peername"), self.connection.fault.text)
            transport.close()
