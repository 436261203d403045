"""How many replicas of the gateway share a store: each says so every five seconds, and is gone after three misses.

The number matters when the store is away: then every replica enforces its share of the limits, by the last number.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ratelimit.store.limit_store import StoreUnavailable

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
"""Between two signs of life."""
GONE_SECONDS = 15
"""Three beats that did not come."""


class ReplicaStore(Protocol):
    async def beat(self, replica: str) -> tuple[int, int]:
        """Say that this replica lives; how many do, and how many of them sort before this one."""
        ...


class Replicas:
    """`seen` is at least 1. `expected` holds until the store has been heard."""

    def __init__(self, store: ReplicaStore, replica: str, expected: int = 1) -> None:
        self.seen = max(1, expected)
        self.rank = 0
        """Among them: what does not divide goes to those with the lowest ranks."""
        self._store = store
        self.name = replica

    async def run(self) -> None:
        """Until it is cancelled. A store that is away leaves the last number."""
        while True:
            await self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        try:
            seen, self.rank = await self._store.beat(self.name)
        except StoreUnavailable as error:
            logger.debug("replicas not counted: %s", error)
            return
        if seen != self.seen:
            logger.info("replicas that share the limits: %d", seen)
        self.seen = max(1, seen)
