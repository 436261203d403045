"""Child processes that never outlive their parent's `stop`, each with a log file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

_STOP_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
# Looked up before the fork: between fork and exec nothing may be loaded.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
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
    async def start(
        cls,
        name: str,
        argv: list[str],
        directory: Path,
        env: Mapping[str, str],
        *,
        keeps_log: bool = False,
        dies_with_parent: bool = False,
        is_told: bool = False,
    ) -> Process:
        """Runs `argv` in a session of its own; output goes to `<directory>/<name>.log`.

        `dies_with_parent`: the kernel ends it when this process is gone, however that went (Linux only). `is_told`: it
        reads what `tell` says from its standard input.
        """
        log = directory / f"{name}.log"
        with log.open("ab" if keeps_log else "wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE if is_told else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **env},
                start_new_session=True,
                preexec_fn=_end_with_parent if dies_with_parent and _PRCTL is not None else None,
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

    @property
    def how_it_ended(self) -> str:
        """For people; empty while it runs."""
        code = self._process.returncode
        if code is None:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def tell(self, line: str) -> None:
        """One line for its standard input, which ends with it; raises OSError when nobody reads."""
        assert self._process.stdin is not None, "it was not started to be told"
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        self._process.stdin.close()

    async def wait(self) -> None:
        """Until the program has ended."""
        await self._process.wait()

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


def _end_with_parent() -> None:
    assert _PRCTL is not None
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
