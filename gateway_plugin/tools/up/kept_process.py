"""Keeps one program running: started anew at once when it ends, ever later when it does not last."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway_plugin.tools.chain.processes import Process, ProcessError

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from gateway_plugin.tools.up.spare import Spare

logger = logging.getLogger(__name__)

LASTING_SECONDS = 10.0
"""Who ran for so long did start well: its next end is a new mishap."""
FIRST_DELAY_SECONDS = 0.05
"""Before a program is started anew."""
LONGEST_DELAY_SECONDS = 5.0
"""However often it failed: what it lacks may come back any time."""
MAX_LOG_BYTES = 16 * 1024 * 1024
"""Of one program; then the log begins anew, and the last one is kept beside it."""


def delay_seconds(short_lives: int) -> float:
    """Before the next start, after so many lives in a row that did not last."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(short_lives, 16))


class KeptProcess:
    """One program. `is_ready` returns once it serves, and raises ProcessError when it does not."""

    def __init__(
        self,
        name: str,
        argv: list[str],
        logs: Path,
        env: Mapping[str, str],
        is_ready: Callable[[Process], Awaitable[None]],
        spare: Spare | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._argv, self._logs, self._env, self._is_ready = argv, logs, env, is_ready
        self._spare = spare
        self._process: Process | None = None
        self._started_at_seconds = 0.0

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.running

    async def start(self) -> None:
        """Until it serves; raises ProcessError with the end of its log."""
        await self._spawn()
        assert self._process is not None
        await self._is_ready(self._process)

    async def keep(self) -> None:
        """Starts it anew whenever it ends, until cancelled."""
        short_lives = 0
        while True:
            assert self._process is not None
            await self._process.wait()
            lasted = asyncio.get_running_loop().time() - self._started_at_seconds
            short_lives = 0 if lasted > LASTING_SECONDS else short_lives + 1
            logger.warning("%s ended (%s); starting it anew", self.name, self._process.how_it_ended)
            await asyncio.sleep(delay_seconds(short_lives))
            await self._again()

    async def _again(self) -> None:
        self.restarts += 1
        try:
            await self._replace()
        except (ProcessError, OSError) as error:
            # It may still come; what ended is seen by who waits for its end.
            logger.error("%s", error)
        else:
            logger.warning("%s runs again", self.name)

    async def stop(self, number: signal.Signals) -> None:
        """Asks it to end, and insists."""
        if self._process is not None:
            await self._process.stop(number)

    def trim_log(self) -> None:
        """Bounds the log: two files of `MAX_LOG_BYTES` a program."""
        log = self._logs / f"{self.name}.log"
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.with_suffix(".log.1").write_bytes(log.read_bytes()[-MAX_LOG_BYTES:])
            # The program goes on writing at the end of the same file, which is its beginning now.
            with log.open("r+b") as opened:
                opened.truncate(0)

    async def _replace(self) -> None:
        taken = await self._spare.take(self.name, self._env) if self._spare is not None else None
        if taken is None:
            await self.start()
            return
        self._process, self._started_at_seconds = taken, asyncio.get_running_loop().time()
        await self._is_ready(taken)

    async def _spawn(self) -> None:
        self._started_at_seconds = asyncio.get_running_loop().time()
        self._process = await Process.start(
            self.name, self._argv, self._logs, self._env, keeps_log=True, dies_with_parent=True
        )
