"""`python -m benchmarks.overhead.echo GRPC_PORT READY_PORT [grpcio|native]`: a bare server on uvloop, for comparison.

grpcio is grpc.aio without anything of ours; native is our own transport. Either answers the two messages of a request
with two replies that never change, and does nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import grpc
import uvloop
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ProcessingRequest,
    ProcessingResponse,
)

from benchmarks.procfs import raise_open_files
from gateway_plugin.grpc.http2.listener import WireListener

if TYPE_CHECKING:
    from gateway_plugin.grpc.calls import Call

    Context = grpc.aio.ServicerContext[ProcessingRequest, ProcessingResponse]

METHOD = "Process"
_alive: list[object] = []
"""A server that nobody holds is collected, and stops."""
SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"


def common(**headers: str) -> CommonResponse:
    """Sets these request headers."""
    options = [
        HeaderValueOption(header=HeaderValue(key=name.replace("_", "-"), raw_value=value.encode()))
        for name, value in headers.items()
    ]
    return CommonResponse(header_mutation=HeaderMutation(set_headers=options), clear_route_cache=True)


ASK_FOR_BODY = ProcessingResponse(
    request_headers=HeadersResponse(response=common(x_went_into_req_headers="true")),
    mode_override=ProcessingMode(
        request_body_mode="BUFFERED", response_header_mode="SKIP", response_trailer_mode="SEND"
    ),
)
SEND_ON = ProcessingResponse(
    request_body=BodyResponse(response=common(model="m", x_request_id="r", routing_strategy="none"))
)
SEND_ON.dynamic_metadata.update({"gateway_plugin": {"request_id": "r"}})


async def process(_: object, context: Context) -> None:
    """One call."""
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(ASK_FOR_BODY if message.HasField("request_headers") else SEND_ON)


async def ready(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says over HTTP that the server listens."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


class NativeEcho:
    """The same for our own transport."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        """Parses it, as grpc.aio does."""
        asked = ProcessingRequest.FromString(message)
        reply = ASK_FOR_BODY if asked.HasField("request_headers") else SEND_ON
        self._call.send(reply.SerializeToString())

    def half_closed(self) -> None:
        """The exchange is over."""
        self._call.finish()

    def ended(self) -> None:
        """Nothing is held."""


async def serve_grpcio(port: int) -> None:
    """Listens."""
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(
        process,
        request_deserializer=ProcessingRequest.FromString,
        response_serializer=ProcessingResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    _alive.append(server)


async def serve_native(port: int) -> None:
    """Listens."""
    listener = WireListener(
        {f"/{SERVICE}/{METHOD}": NativeEcho}, socket.create_server(("127.0.0.1", port), backlog=1024)
    )
    await listener.start()
    _alive.append(listener)


async def main() -> None:
    """Serves until the process ends."""
    grpc_port, ready_port = (int(argument) for argument in sys.argv[1:3])
    await (serve_native(grpc_port) if sys.argv[3:] == ["native"] else serve_grpcio(grpc_port))
    async with await asyncio.start_server(ready, "127.0.0.1", ready_port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
