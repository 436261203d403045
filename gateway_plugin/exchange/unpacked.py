"""Bodies that came compressed: they are unpacked by threads of their own, and take their place in memory only then."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Each holds one body that is not counted yet; zlib leaves Python's lock to the loop.
_THREADS = 2


class UnpackedBodies:
    """Those of exchanges that are not decided yet."""

    def __init__(self, max_bytes: int = 0) -> None:
        self._max_bytes = max_bytes or math.inf
        self._threads = ThreadPoolExecutor(_THREADS, "unpacking")
        self.held_bytes = 0

    def unpacked(self, unpack: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """What it returns, or the ApiError that it raises."""
        return asyncio.get_running_loop().run_in_executor(self._threads, unpack)

    def enter(self, size_bytes: int) -> bool:
        """Whether there is room for one more."""
        if self.held_bytes + size_bytes > self._max_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def leave(self, size_bytes: int) -> None:
        """It is on its way, or nobody wants it any more."""
        self.held_bytes -= size_bytes
