"""Engines that are never the bottleneck, in a process of their own (`upstream_worker`), and waiting for processes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Self

from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process, ProcessError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = "127.0.0.1"


class Upstream:
    """Engines in a process of their own; an async context manager. Several rigs may share it."""

    def __init__(self, directory: Path, pods: int = 4, metrics_page: bytes = b"", ports: Sequence[int] = ()) -> None:
        free = Ports(usual=False)
        self.ports = list(ports) or [free.pick(0) for _ in range(pods)]
        self._directory = directory
        self._page = metrics_page
        self.process: Process | None = None

    @property
    def urls(self) -> list[str]:
        """Of all pods."""
        return [f"http://{HOST}:{port}" for port in self.ports]

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "benchmarks.upstream_worker", *map(str, self.ports)]
        if self._page:
            page = self._directory / "metrics.txt"
            page.write_bytes(self._page)
            argv += ["--page", str(page)]
        self.process = await Process.start("upstream", argv, self._directory, {})
        try:
            await self.process.wait_ready(f"{self.urls[0]}/health")
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Also one that did not start."""
        if self.process is not None:
            await self.process.stop()


async def until_it_listens(process: Process, port: int, timeout_seconds: float = 60.0) -> None:
    """Raises ProcessError when the program ends or time is up."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        if not process.running or asyncio.get_running_loop().time() > deadline:
            raise ProcessError(f"{process.name} does not listen on {port}; the end of its log:\n{process.log_tail()}")
        await asyncio.sleep(0.05)
