"""Requests by their lengths, written to Redis every ten seconds under AIBrix's keys: what a GPU optimizer plans by.

Replicas add to the same key, each in one atomic call.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from orchestration.optimizer.request_cells import INTERVAL_SECONDS, KEPT_SECONDS, RequestCells, trace_key, trace_text
from ratelimit.store.urls import close_client, connect, is_of_closed_connection

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_ADD = (Path(__file__).parent / "lua" / "add_trace.lua").read_text()
_SLACK_SECONDS = 0.5
"""After an interval's end, before it is written: its last requests are told so late."""


class RequestTraces:
    """Counts what finishes, and writes it. `now`: Unix time."""

    def __init__(self, url: str, timeout_seconds: float, now: Callable[[], float]) -> None:
        self._redis: Any = connect(url, timeout_seconds).client
        self._now = now
        self.cells = RequestCells()

    async def run(self) -> None:
        """Until it is cancelled; what cannot be written is lost, and said once."""
        failing = False
        try:
            while True:
                began = self._now() // INTERVAL_SECONDS * INTERVAL_SECONDS
                await asyncio.sleep(began + INTERVAL_SECONDS + _SLACK_SECONDS - self._now())
                try:
                    await self.write(began)
                    failing = False
                except (RedisError, OSError, TimeoutError, RuntimeError) as error:
                    if isinstance(error, RuntimeError) and not is_of_closed_connection(error):
                        raise
                    if not failing:
                        logger.warning("request traces cannot be written: %s; an optimizer misses them", error)
                    failing = True
        finally:
            await close_client(self._redis)

    async def write(self, at: float) -> None:
        """All that was counted, as of the interval that began `at`."""
        for model, cells in self.cells.take().items():
            await self._redis.eval(_ADD, 1, trace_key(model, at), trace_text(cells), KEPT_SECONDS)
