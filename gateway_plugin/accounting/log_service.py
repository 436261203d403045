"""The access log service: Envoy streams finished exchanges here, in batches, off the path of any request."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway_plugin.grpc.calls import INTERNAL
from protos import access_log
from protos.access_log import DecodeError, FinishedExchange, StreamAccessLogsResponse, entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.accounting.accountant import Accountant, LogEntry
    from gateway_plugin.grpc.calls import Call, Methods

logger = logging.getLogger(__name__)


MAX_BATCHES = 64
"""Of some 16 KiB; their charges wait a moment for each other."""


class AccessLogService:
    """`envoy.service.accesslog.v3.AccessLogService`: one endless call per Envoy worker."""

    def __init__(self, accountant: Accountant) -> None:
        self._accountant = accountant
        self.on_finished: Callable[[str], None] = lambda charge_id: None
        """Called with the charge id of each exchange that is over, ours or another replica's."""
        self.batches_heard = 0
        """Whoever sends any sends all: none after many requests means that nobody sends."""
        self._batches: set[asyncio.Task[None]] = set()
        self._finished: list[FinishedExchange] = []

    def methods(self) -> Methods:
        """What a transport serves."""
        return {f"/{access_log.METHOD_SERVICE}/{access_log.METHOD_NAME}": lambda call: AccessLogCall(call, self)}

    @property
    def is_busy(self) -> bool:
        """Whether so many batches are being booked that no more should come."""
        return len(self._batches) > MAX_BATCHES

    def book(self, entries: Iterable[LogEntry]) -> asyncio.Task[None]:
        """Books a batch, in a task that outlives the call it came by."""
        self.batches_heard += 1
        task = asyncio.get_running_loop().create_task(self._book(entries))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)
        return task

    def book_soon(self, exchange: FinishedExchange) -> None:
        """Books an exchange of which no log tells, together with all others of this turn of the loop."""
        if not self._finished:
            asyncio.get_running_loop().call_soon(self._book_finished)
        self._finished.append(exchange)

    def _book_finished(self) -> None:
        finished, self._finished = self._finished, []
        self.book(finished)

    async def flush(self, timeout_seconds: float) -> None:
        """Waits for batches that are being booked."""
        if self._batches:
            await asyncio.wait(self._batches, timeout=timeout_seconds)

    async def _book(self, entries: Iterable[LogEntry]) -> None:
        try:
            batch, on_finished = list(entries), self.on_finished
            for entry in batch:
                if isinstance(entry, FinishedExchange):
                    on_finished(entry.charge_id)
            await self._accountant.finish(batch)
        except Exception:
            # A bad batch must not end the stream: Envoy would drop what it has buffered.
            logger.exception("a batch of access log entries was dropped")


class AccessLogCall:
    """One stream of batches; the next one is taken when few are still being booked."""

    def __init__(self, call: Call, service: AccessLogService) -> None:
        self._call = call
        self._service = service

    def received(self, message: bytes) -> asyncio.Future[None] | None:
        """Books a batch."""
        try:
            batch = entries_of(message)
        except DecodeError:
            self._call.finish(INTERNAL, "not a StreamAccessLogsMessage")
            return None
        task = self._service.book(batch)
        return task if self._service.is_busy else None

    def half_closed(self) -> None:
        """Envoy goes; the answer is empty by contract."""
        self._call.send(StreamAccessLogsResponse().SerializeToString())
        self._call.finish()

    def ended(self) -> None:
        """Batches under way are booked all the same."""
