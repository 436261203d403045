"""The grpc.aio shell of the exchange: reads messages, writes replies, and tells the exchange when it is over.

Envoy's end of stream arrives as EOF or as a cancellation, whichever wins a race; both mean the same, so everything that
must happen at the end stands in one `finally`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc

from gateway_plugin.extproc.exchange import Admit, Exchange, Reply
from gateway_plugin.intent import rejections
from protos import ext_proc
from protos.ext_proc import ProcessingRequest, ProcessingResponse
from ratelimit import CorruptUserRecord, Decision, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ratelimit import LimitStore

    Context = grpc.aio.ServicerContext[ProcessingRequest, ProcessingResponse]

logger = logging.getLogger(__name__)


class ExternalProcessor:
    """`envoy.service.ext_proc.v3.ExternalProcessor`: one call per HTTP request."""

    def __init__(self, new_exchange: Callable[[], Exchange], limits: LimitStore) -> None:
        self._new_exchange = new_exchange
        self._limits = limits
        self.open_exchanges = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpc.aio server registers."""
        method = grpc.stream_stream_rpc_method_handler(
            self._process,
            request_deserializer=ProcessingRequest.FromString,
            response_serializer=ProcessingResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(ext_proc.METHOD_SERVICE, {ext_proc.METHOD_NAME: method})

    async def _process(self, _: object, context: Context) -> None:
        exchange = self._new_exchange()
        self.open_exchanges += 1
        self.idle.clear()
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                reply = await self._answer(exchange, message)
                if reply is None:
                    continue
                await context.write(reply.message)
                if reply.final:
                    return
        finally:
            self.open_exchanges -= 1
            if not self.open_exchanges:
                self.idle.set()
            exchange.end()

    async def _answer(self, exchange: Exchange, message: ProcessingRequest) -> Reply | None:
        try:
            step = exchange.receive(message)
            while isinstance(step, Admit):
                step = await self._admit(exchange, step)
        except Exception:
            # One exchange must never end the process, and its client must get an answer.
            logger.exception("exchange failed: %r", exchange)
            return exchange.failed()
        return step

    async def _admit(self, exchange: Exchange, ask: Admit) -> Reply | Admit:
        try:
            decision = await _settled(self._limits.admit(ask.user, ask.cost))
        except StoreUnavailable as error:
            logger.warning("limiter unavailable: %s", error)
            return exchange.refused(rejections.limiter_unavailable())
        except CorruptUserRecord as error:
            logger.error("user cannot be admitted: %s", error)
            return exchange.refused(rejections.corrupt_user())
        return exchange.admitted(decision)


async def _settled(decision: Decision | Awaitable[Decision]) -> Decision:
    return decision if isinstance(decision, Decision) else await decision
