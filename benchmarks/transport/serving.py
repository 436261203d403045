"""`python -m benchmarks.transport.serving TRANSPORT PORT`: a bare ext_proc echo; and child processes that listen."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import uvloop

from benchmarks.procfs import raise_open_files
from gateway_plugin.grpc.grpcio_server import GrpcioMethods
from gateway_plugin.grpc.http2.listener import WireListener
from protos import ext_proc
from protos.ext_proc import ProcessingRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_plugin.grpc.calls import Call

NATIVE, GRPCIO = "native", "grpcio"
TRANSPORTS = (GRPCIO, NATIVE)
BODIES_BYTES = (512, 16 * 1024)
METHOD = f"/{ext_proc.METHOD_SERVICE}/{ext_proc.METHOD_NAME}"


class Echo:
    """Parses every message and says "go on"."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        """Any message of Envoy."""
        reply = ext_proc.empty_reply(ext_proc.kind_of(ProcessingRequest.FromString(message)))
        assert reply is not None
        self._call.send(reply)

    def half_closed(self) -> None:
        """The exchange is over."""
        self._call.finish()

    def ended(self) -> None:
        """Nothing is held."""


async def serve(transport: str, port: int) -> None:
    """The plugin's process."""
    if transport == "native":
        await WireListener({METHOD: Echo}, socket.create_server(("127.0.0.1", port), backlog=128)).start()
    else:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([GrpcioMethods({METHOD: Echo})])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
    await asyncio.Event().wait()


@asynccontextmanager
async def process(argv: list[str], port: int) -> AsyncIterator[int]:
    """A child that listens on the port; gives its process id."""
    child = await asyncio.create_subprocess_exec(*argv)
    try:
        async with asyncio.timeout(20):
            while not await accepts(port):  # noqa: ASYNC110 - a port has no event
                await asyncio.sleep(0.05)
        yield child.pid
    finally:
        child.kill()
        await child.wait()


async def accepts(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def echo_command(transport: str, port: int) -> list[str]:
    """Runs the echo."""
    return [sys.executable, "-m", "benchmarks.transport.serving", transport, str(port)]


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
