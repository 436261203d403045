"""The methods of `gateway_plugin.grpc.calls`, carried by grpc.aio: one task per call.

The end of a call arrives as EOF or as a cancellation, whichever wins a race; both mean the same, so everything that
must happen at the end stands in one `finally`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

import grpc

from gateway_plugin.grpc.calls import OK
from gateway_plugin.grpc.tls import Reloading

if TYPE_CHECKING:
    from gateway_plugin.grpc.calls import Method, Methods
    from gateway_plugin.grpc.tls import Certificates, TlsFiles

    Context = grpc.aio.ServicerContext[bytes, bytes]

_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class GrpcioMethods(grpc.GenericRpcHandler):
    """What a grpc.aio server registers. Every kind of call is a stream of messages both ways on the wire."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of a path; None is UNIMPLEMENTED."""
        method = self._methods.get(details.method)
        return grpc.stream_stream_rpc_method_handler(partial(_serve, method)) if method is not None else None


class _GrpcioCall:
    """Keeps what is to be sent until the task of the call sends it."""

    __slots__ = ("_changed", "_outbox", "_reading", "fingerprint", "finished", "status", "text", "traceparent")

    def __init__(self, traceparent: str = "", fingerprint: str = "") -> None:
        self.traceparent = traceparent
        self.fingerprint = fingerprint.encode()
        self._outbox: list[bytes] = []
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[bytes | None] | None = None
        self.finished = False
        self.status = OK
        self.text = ""

    def send(self, message: bytes) -> None:
        if not self.finished:
            self._outbox.append(message)
            self._changed.set()

    def finish(self, status: int = OK, text: str = "") -> None:
        if not self.finished:
            self.finished, self.status, self.text = True, status, text
            self._changed.set()
            if self._reading is not None:
                self._reading.cancel()

    async def read(self, context: Context) -> bytes | None:
        """The next message; None at the end of the stream, and when the call is finished meanwhile."""
        self._reading = asyncio.ensure_future(_read(context))
        try:
            return await self._reading
        except asyncio.CancelledError:
            if not self.finished:
                raise
            return None
        finally:
            self._reading = None

    async def flush(self, context: Context) -> None:
        outbox, self._outbox = self._outbox, []
        for message in outbox:
            await context.write(message)

    async def run(self, context: Context) -> None:
        """Sends what comes until the call is finished."""
        await self.flush(context)
        while not self.finished:
            self._changed.clear()
            await self._changed.wait()
            await self.flush(context)


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """TLS that follows its files; raises TlsError. Clients need a certificate where there is a CA for them."""
    reloading = Reloading(files)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        certificates = reloading.renewed()
        return _configuration(certificates) if certificates is not None else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(reloading.current),
        renewed,  # type: ignore[arg-type]  # the stubs leave out None, "nothing new"
        require_client_authentication=files.client_ca is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = [(certificates.key, certificates.chain)]
    return grpc.ssl_server_certificate_configuration(pair, certificates.client_ca or None)


async def _serve(method: Method, _: object, context: Context) -> None:
    call = _GrpcioCall(_said(context, "traceparent"), _said(context, "x-gateway-fingerprint"))
    handler = method(call)
    try:
        while not call.finished and (message := await call.read(context)) is not None:
            busy = handler.received(message)
            if busy is not None:
                await busy
            await call.flush(context)
        if not call.finished:
            handler.half_closed()
        await call.run(context)
        context.set_code(_STATUS[call.status])
        context.set_details(call.text)
    finally:
        call.finish()
        handler.ended()


def _said(context: Context, name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name and isinstance(value, str):
            return value
    return ""


async def _read(context: Context) -> bytes | None:
    """The next message; None at the end of the stream, which the library's types leave out."""
    message = cast("object", await context.read())
    return message if isinstance(message, bytes) else None
