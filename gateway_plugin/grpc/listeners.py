"""Ports: bound early, and with a clear word when that fails. One gRPC server, and HTTP servers inside the same loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import grpc
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway_plugin.grpc.grpcio_server import GrpcioMethods, credentials
from gateway_plugin.grpc.http2.listener import WireListener
from gateway_plugin.grpc.tls import TlsError
from gateway_plugin.settings.pacing import seconds_to_moment
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from gateway_plugin.grpc.calls import Methods
    from gateway_plugin.grpc.http2.bounds import Bounds
    from gateway_plugin.grpc.tls import TlsFiles
    from gateway_plugin.settings.listener_settings import Transport

# Each open HTTP exchange holds one stream; a limit here would be a limit on concurrent generations.
_MAX_STREAMS = 2**31 - 1


class GrpcListener(Protocol):
    """The gRPC server on one port, whatever carries it."""

    port: int

    async def start(self) -> None:
        """Serves from now on."""

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, gives open ones so long, then ends them."""


def grpc_listener(
    transport: Transport,
    host: str,
    port: int,
    methods: Methods,
    bounds: Bounds,
    tls: TlsFiles | None = None,
) -> GrpcListener:
    """Takes the port; raises StartError when that, or TLS, fails."""
    try:
        if transport == "grpcio":
            return GrpcioListener(host, port, methods, bounds.max_message_bytes, tls)
        return WireListener(methods, bind(host, port, "grpc_port"), bounds, tls)
    except TlsError as error:
        raise StartError(f"tls.cert_file: {error}") from None


class GrpcioListener:
    """grpc.aio's server."""

    def __init__(self, host: str, port: int, methods: Methods, max_message_bytes: int, tls: TlsFiles | None) -> None:
        # grpc would share the port with another process silently, and report a failure only in its own words.
        bind(host, port, "grpc_port").close()
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers([GrpcioMethods(methods)])
        at = address(host, port)
        if tls is None:
            self.port = self._server.add_insecure_port(at)
        else:
            self.port = self._server.add_secure_port(at, credentials(tls))

    async def start(self) -> None:
        """Serves from now on."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, gives open ones so long, then ends them."""
        await self._server.stop(grace_seconds)


_DATE_SECONDS = 1.0
"""The Date header has whole seconds."""


class PunctualHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with a deadline for heads: it has none itself, so that a byte now and then would hold a
    connection for ever. Bodies have one at the gate (`http/gate.py`)."""

    head_seconds = 10.0
    """From the connection, or the end of the last answer, to the end of a head; as long as Envoy gives clients."""
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody is there."""
        super().connection_made(transport)
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._forget_deadline()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer is whole; the next request may have come already."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever was there is gone."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._forget_deadline()
        self._head_deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None


class HttpListener:
    """A uvicorn server that leaves signals to the process it lives in."""

    def __init__(self, app: FastAPI, host: str, port: int, setting: str) -> None:
        self._socket = bind(host, port, setting)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app, http=PunctualHttp, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        self._server = _QuietServer(config)

    async def run(self) -> None:
        """Serves until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Makes `run` return after open requests are answered."""
        self._server.stop()


class _QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """uvicorn's own wakes ten times a second; the `date` header needs one."""
        now = asyncio.get_running_loop().time
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_moment(now(), _DATE_SECONDS)):
                    await self._stopping.wait()


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; raises StartError that names the setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        variable = f"GATEWAY_{setting.upper()}"
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"{setting}: {address(host, port)} is taken; stop its user or set {variable}") from None
        raise StartError(f"{setting}: cannot listen on {address(host, port)}: {error.strerror or error}") from None


def address(host: str, port: int) -> str:
    """ "host:port", with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
