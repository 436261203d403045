"""Keeps parts of the controller standing: one that ends in a way nobody foresaw is counted, told, and begun anew."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
"""Doubles with each failure in a row."""
LAST_PAUSE_SECONDS = 60.0
"""What comes back by itself waits no longer."""
STEADY_SECONDS = 300.0
"""A part that stood for so long begins with the first pause again."""


class Standing:
    """`failures` are by part."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    async def keep(self, part: str, run: Callable[[], Awaitable[None]]) -> None:
        """Until it is cancelled."""
        loop, pause_seconds = asyncio.get_running_loop(), FIRST_PAUSE_SECONDS
        while True:
            began_seconds = loop.time()
            try:
                await run()
            except Exception:
                self.failures[part] += 1
                if loop.time() - began_seconds >= STEADY_SECONDS:
                    pause_seconds = FIRST_PAUSE_SECONDS
                logger.exception("%s failed; it begins anew in %.0f s", part, pause_seconds)
            else:
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
