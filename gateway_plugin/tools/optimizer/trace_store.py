"""Traces and profiles in Redis, under AIBrix's keys."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import redis.asyncio as redis
from redis.exceptions import RedisError

from orchestration.optimizer.gpu_profiles import GpuProfile, read_profile
from orchestration.optimizer.request_cells import INTERVAL_SECONDS, read_trace, trace_key

if TYPE_CHECKING:
    from orchestration.optimizer.request_cells import Cell

LATE_SECONDS = 2
"""Replicas write an interval's trace so late at most; as AIBrix reads it."""
_SECONDS = 5.0
"""For one answer of Redis."""


class TraceStoreError(Exception):
    """Redis does not answer, or not as it should."""


class TraceStore:
    """One connection pool. Close it."""

    def __init__(self, host: str, port: int, password: str = "") -> None:
        self._redis = redis.Redis(
            host=host, port=port, password=password or None, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        )

    async def traces(self, model: str, now: float, window_seconds: int) -> list[Counter[Cell]]:
        """Oldest first, one for each interval of the window that is over; unreadable ones are empty."""
        newest = int(now - LATE_SECONDS) // INTERVAL_SECONDS - 1
        count = window_seconds // INTERVAL_SECONDS
        keys = [trace_key(model, (newest - back) * INTERVAL_SECONDS) for back in reversed(range(count))]
        try:
            texts = await self._redis.mget(keys)
        except RedisError as error:
            raise TraceStoreError(str(error)) from None
        return [_read(text) for text in texts]

    async def profile(self, model: str, deployment: str) -> GpuProfile | None:
        """ValueError when there is one that cannot be read."""
        try:
            text = await self._redis.get(f"aibrix:profile_{model}_{deployment}")
        except RedisError as error:
            raise TraceStoreError(str(error)) from None
        return None if text is None else read_profile(deployment, text)

    async def close(self) -> None:
        await self._redis.aclose()


def _read(text: bytes | str | None) -> Counter[Cell]:
    try:
        return read_trace(text) if text else Counter()
    except ValueError:
        return Counter()
