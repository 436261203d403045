"""`python -m benchmarks.scale.ticking FILE`: the plugin, with a ticker in its event loop.

Every 10 ms the ticker notes how late it was woken: what anything else in the loop would have waited. At the end it
writes pairs of float64 into the file: seconds since the epoch, seconds late.
"""

from __future__ import annotations

import array
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_plugin.app.assembly import Assembly
from gateway_plugin.app.process import serve
from gateway_plugin.settings.loading import load

if TYPE_CHECKING:
    from gateway_plugin.app.assembly import BackgroundPart

TICK_SECONDS = 0.01


class Ticker:
    """A part of the service that does nothing, on time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._noted = array.array("d")

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                due = time.perf_counter() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                self._noted.extend((time.time(), max(0.0, time.perf_counter() - due)))
        finally:
            self._file.write_bytes(self._noted.tobytes())


class TickingAssembly(Assembly):
    """The service, and the ticker."""

    def parts(self) -> list[BackgroundPart]:
        """As ever, and one more."""
        return [*super().parts(), Ticker(Path(sys.argv[1]))]


if __name__ == "__main__":
    serve(load(), load, assemble=TickingAssembly)
