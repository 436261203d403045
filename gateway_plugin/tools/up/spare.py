"""A plugin process that has everything loaded and waits: to load takes seconds, and a worker that dies has none.

It serves as soon as it is told for whom. One waits at a time; the next is started when it has been taken.
"""

from __future__ import annotations

import json
import logging
import signal
from typing import TYPE_CHECKING

from gateway_plugin.tools.chain.processes import Process, script

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME = "spare"


class Spare:
    """`start` it when the workers serve: it shall not hold them up."""

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self._logs, self._env = logs, env
        self._waiting: Process | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 when none waits."""
        return self._waiting.pid if self._waiting is not None else 0

    async def start(self) -> None:
        """Replaces one that is gone, too."""
        if self._waiting is None or not self._waiting.running:
            argv = [script("gateway-plugin"), "serve", "--standby"]
            self._waiting = await Process.start(
                NAME, argv, self._logs, self._env, keeps_log=True, dies_with_parent=True, is_told=True
            )

    async def take(self, name: str, env: Mapping[str, str]) -> Process | None:
        """The waiting process as this worker; None when there is none."""
        process, self._waiting = self._waiting, None
        if process is None or not process.running:
            return None
        log = self._logs / f"{name}.log"
        try:
            await process.tell(json.dumps({"environment": dict(env), "log": str(log)}))
        except OSError:
            return None  # it ended at this moment
        process.name, process.log = name, log
        return process

    async def stop(self) -> None:
        """It has nothing to end in order."""
        if self._waiting is not None:
            await self._waiting.stop(signal.SIGKILL)
