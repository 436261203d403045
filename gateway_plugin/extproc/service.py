"""The grpc.aio shell of the exchange: reads messages, writes replies, and tells the exchange when it is over.

Envoy's end of stream arrives as EOF or as a cancellation, whichever wins a race; both mean the same, so everything that
must happen at the end stands in one `finally`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc

from gateway_plugin.extproc.steps import Admit, Identify
from gateway_plugin.intent import rejections
from protos import ext_proc
from protos.ext_proc import ProcessingRequest, ProcessingResponse
from ratelimit import CorruptUserRecord, Decision, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.extproc.exchange import Exchange
    from gateway_plugin.extproc.steps import Reply, Step
    from gateway_plugin.limiting import GiveBack, Limiting

    Context = grpc.aio.ServicerContext[ProcessingRequest, ProcessingResponse]

logger = logging.getLogger(__name__)


class ExternalProcessor:
    """`envoy.service.ext_proc.v3.ExternalProcessor`: one call per HTTP request."""

    def __init__(self, new_exchange: Callable[[], Exchange], limiter: Limiting) -> None:
        self._new_exchange = new_exchange
        self._limiter = limiter
        self._giving_back: set[asyncio.Task[None]] = set()
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
            self._give_back(exchange.end())

    async def _answer(self, exchange: Exchange, message: ProcessingRequest) -> Reply | None:
        try:
            step = exchange.receive(message)
            while isinstance(step, Admit | Identify):
                step = await self._ask(exchange, step)
        except Exception:
            # One exchange must never end the process, and its client must get an answer.
            logger.exception("exchange failed: %r", exchange)
            return exchange.failed()
        return step

    async def _ask(self, exchange: Exchange, step: Admit | Identify) -> Step:
        try:
            if isinstance(step, Identify):
                return exchange.identified(await self._limiter.owner_of_key(step.key_sha256))
            answer = self._limiter.admit(step.admission)
            return exchange.admitted(answer if isinstance(answer, Decision) else await answer)
        except StoreUnavailable as error:
            logger.debug("limiter unavailable: %s", error)
            return exchange.refused(rejections.limiter_unavailable())
        except CorruptUserRecord as error:
            logger.error("user cannot be admitted: %s", error)
            return exchange.refused(rejections.corrupt_user())

    def _give_back(self, back: GiveBack | None) -> None:
        if back is not None:
            # In a task of its own: this one may be under cancellation.
            task = asyncio.get_running_loop().create_task(self._limiter.give_back(back))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
