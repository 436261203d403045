"""`make h2spec` runs this: gRPC health alone on our transport, on a port of loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys

import uvloop

from gateway_plugin.grpc.grpc_health import GrpcHealth
from gateway_plugin.grpc.http2.bounds import KIB, Bounds
from gateway_plugin.grpc.http2.listener import WireListener


async def main(port: int) -> None:
    """Serves until it is killed."""
    health = GrpcHealth()
    health.set_serving(True)
    # h2spec takes it for granted that frames above the default size are refused.
    bounds = Bounds(max_frame_bytes=16 * KIB)
    await WireListener(health.methods(), socket.create_server(("127.0.0.1", port)), bounds).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(main(int(sys.argv[1])))
