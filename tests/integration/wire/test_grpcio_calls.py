"""A call that its handler ends by itself, while the client sends nothing: on either transport it ends at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway_plugin.grpc.calls import UNAVAILABLE
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.listeners import grpc_listener

if TYPE_CHECKING:
    from gateway_plugin.grpc.calls import Call
    from gateway_plugin.settings.listener_settings import Transport

METHOD = "/test.Service/Method"


class Impatient:
    """Ends the call some turns of the loop after its first message, as a deadline does."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.over = asyncio.Event()

    def received(self, message: bytes) -> None:
        asyncio.get_running_loop().call_later(0.01, self._give_up)

    def half_closed(self) -> None:
        self._call.finish()

    def ended(self) -> None:
        self.over.set()

    def _give_up(self) -> None:
        self._call.send(b"too late")
        self._call.finish(UNAVAILABLE, "no more")


@pytest.mark.parametrize("transport", ["native", "grpcio"])
async def test_a_handler_that_ends_its_call_is_heard_at_once(transport: Transport):
    handlers: list[Impatient] = []

    def begin(call: Call) -> Impatient:
        handlers.append(Impatient(call))
        return handlers[-1]

    listener = grpc_listener(transport, "127.0.0.1", 0, {METHOD: begin}, Bounds())
    await listener.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel, asyncio.timeout(10):
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()
            await call.write(b"first")
            assert await call.read() == b"too late"
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            await handlers[0].over.wait()
    finally:
        await listener.stop(0)
