"""Child processes that never outlive their parent's `stop`, each with a log file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

_STOP_SECONDS = 5.0
_LOG_TAIL_LINES = 20


class ProcessError(RuntimeError):
    """A part of the stack did not start; the text has the end of its log."""


class Process:
    """One running program."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, argv: list[str], directory: Path, env: Mapping[str, str]) -> Process:
        """Runs `argv` in a session of its own; output goes to `<directory>/<name>.log`."""
        log = directory / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv, stdout=output, stderr=output, env={**os.environ, **env}, start_new_session=True
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the program has ended."""
        return self._process.returncode is None

    async def wait_ready(self, url: str, timeout_seconds: float = 20.0) -> None:
        """Waits until `url` answers 200; raises ProcessError when the program ends or time is up."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
            deadline = asyncio.get_running_loop().time() + timeout_seconds
            while not await _answers(session, url):
                if not self.running or asyncio.get_running_loop().time() > deadline:
                    raise ProcessError(f"{self.name} did not start; the end of its log:\n{self.log_tail()}")
                await asyncio.sleep(0.05)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks the program to end, and insists after 5 s."""
        if self.running:
            self._signal(number)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def script(name: str) -> str:
    """A console script of this very environment."""
    return str(Path(sys.executable).parent / name)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
