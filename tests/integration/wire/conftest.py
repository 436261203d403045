"""A listener in this process, and methods that behave in telling ways; clients are grpc's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from gateway_plugin.grpc.calls import Call
from gateway_plugin.grpc.grpc_health import GrpcHealth
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.listener import WireListener
from gateway_plugin.grpc.tls import TlsFiles

LARGE_BYTES = 16 * 1024 * 1024


class Echo:
    """Sends every message back; counts its calls."""

    open = 0
    ended_calls = 0

    def __init__(self, call: Call) -> None:
        self.call = call
        type(self).open += 1

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        self.call.send(message)
        return None

    def half_closed(self) -> None:
        self.call.finish()

    def ended(self) -> None:
        type(self).open -= 1
        type(self).ended_calls += 1


class Collect(Echo):
    """Takes a moment for every message, and says in the end how many bytes there were, as the access log does."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.seen = 0
        self.busy = False

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        assert not self.busy, "one message at a time"
        self.busy = True
        return asyncio.ensure_future(self._book(message))

    def half_closed(self) -> None:
        assert not self.busy, "the end comes after the last message"
        self.call.send(str(self.seen).encode())
        self.call.finish()

    async def _book(self, message: bytes) -> None:
        await asyncio.sleep(0.001)
        self.seen += len(message)
        self.busy = False


class Silent(Echo):
    """Never answers."""

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        return None

    def half_closed(self) -> None:
        pass


class Failing(Echo):
    """Breaks."""

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        raise RuntimeError("broken")


METHODS = {"/t.T/Echo": Echo, "/t.T/Collect": Collect, "/t.T/Silent": Silent, "/t.T/Failing": Failing}


class Served:
    """A listener and what it serves."""

    def __init__(self, listener: WireListener, health: GrpcHealth) -> None:
        self.listener = listener
        self.health = health
        self.address = f"127.0.0.1:{listener.port}"

    @property
    def streams(self) -> int:
        return sum(len(protocol.connection.streams) for protocol in self.listener.connections)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def serve(bounds: Bounds | None = None, tls: TlsFiles | None = None, **options: Any) -> AsyncIterator[Served]:
    Echo.open = 0
    Echo.ended_calls = 0
    health = GrpcHealth(("", "gateway-plugin"))
    health.set_serving(True)
    listening = socket.create_server(("127.0.0.1", 0))
    listener = WireListener({**METHODS, **health.methods()}, listening, bounds, tls, **options)
    await listener.start()
    try:
        yield Served(listener, health)
    finally:
        await listener.stop(grace_seconds=0)
    assert Echo.open == 0, "every call is told its end"


@pytest.fixture
def wire() -> Serve:
    """Starts listeners."""
    return serve
