"""The access log service: Envoy streams finished exchanges here, in batches, off the path of any request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc

from protos import access_log
from protos.access_log import StreamAccessLogsMessage, StreamAccessLogsResponse, entries_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_plugin.accounting.accountant import Accountant

    Context = grpc.aio.ServicerContext[StreamAccessLogsMessage, StreamAccessLogsResponse]

logger = logging.getLogger(__name__)


class AccessLogService:
    """`envoy.service.accesslog.v3.AccessLogService`: one endless call per Envoy worker."""

    def __init__(self, accountant: Accountant) -> None:
        self._accountant = accountant

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpc.aio server registers."""
        method = grpc.stream_unary_rpc_method_handler(
            self._stream,
            request_deserializer=StreamAccessLogsMessage.FromString,
            response_serializer=StreamAccessLogsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(access_log.METHOD_SERVICE, {access_log.METHOD_NAME: method})

    async def _stream(self, messages: AsyncIterator[StreamAccessLogsMessage], _: Context) -> StreamAccessLogsResponse:
        async for message in messages:
            try:
                await self._accountant.finish(entries_of(message))
            except Exception:
                # A bad batch must not end the stream: Envoy would drop what it has buffered.
                logger.exception("a batch of access log entries was dropped")
        return StreamAccessLogsResponse()
