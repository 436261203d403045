"""The listening side: takes connections on a bound socket, keeps an eye on them, drains them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.memory import MessageMemory
from gateway_plugin.grpc.http2.protocol import OpenConnections, WireProtocol
from gateway_plugin.grpc.http2.tls_protocol import ReloadingContext
from gateway_plugin.settings.pacing import next_moment

if TYPE_CHECKING:
    import socket

    from gateway_plugin.grpc.calls import Methods
    from gateway_plugin.grpc.tls import TlsFiles

MAX_CONNECTIONS = 4096
"""Envoy opens one per worker thread."""
_TICK_SECONDS = 1.0
"""Between two looks for what is over time."""


class WireListener:
    """Serves methods on one socket, with or without TLS."""

    def __init__(
        self,
        methods: Methods,
        listening: socket.socket,
        bounds: Bounds | None = None,
        tls: TlsFiles | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.methods = methods
        self.port: int = listening.getsockname()[1]
        self._socket = listening
        self._bounds = bounds or Bounds()
        self._tls = ReloadingContext(tls) if tls is not None else None
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.memory = MessageMemory(self._bounds.memory_bytes)
        self.connections = OpenConnections(max_connections, self.memory)

    async def start(self) -> None:
        """Accepts connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: WireProtocol(self.methods, self._bounds, loop, self.connections),
            sock=self._socket,
            ssl=self._tls.context if self._tls is not None else None,
            ssl_handshake_timeout=self._bounds.preface_seconds if self._tls is not None else None,
        )
        self._ticking = loop.create_task(self._tick())

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more connections, lets open calls finish for so long, then closes everything."""
        if self._server is None or self._ticking is None:
            self._socket.close()
            return
        self._server.close()
        for protocol in list(self.connections):
            protocol.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.connections.none.wait(), grace_seconds)
        for protocol in list(self.connections):
            protocol.abort("the listener stops")
        await self.connections.none.wait()
        self._ticking.cancel()
        with suppress(asyncio.CancelledError):
            await self._ticking

    async def _tick(self) -> None:
        while True:
            await next_moment(_TICK_SECONDS)
            for protocol in list(self.connections):
                protocol.tick()
