"""The programs of one host: started in order, kept running, stopped in reverse order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp

from gateway_plugin.tools.chain.processes import Process, ProcessError, script
from gateway_plugin.tools.chain.valkey import valkey_binary
from gateway_plugin.tools.envoy_config.process import envoy_argv
from gateway_plugin.tools.envoy_config.render import write
from gateway_plugin.tools.up.host_plan import (
    HOST,
    HostOptions,
    HostPorts,
    envoy_config,
    shared_environment,
    worker_environment,
    write_state,
)
from gateway_plugin.tools.up.kept_process import KeptProcess
from gateway_plugin.tools.up.spare import Spare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from io import TextIOWrapper

    from gateway_plugin.tools.envoy_config.model import EnvoyConfig

START_SECONDS = 60.0
"""For one program, on a busy machine."""
_PORT_SECONDS = 10.0
"""For who had the gateway's port before to let go of it."""
_LOOK_SECONDS = 0.05
"""Between two looks at a port, or at requests in flight."""
_LOGS_SECONDS = 60.0
"""Between two looks at how long logs are."""
_SPARE_SECONDS = 1.0
"""Between two looks whether a spare process waits."""


class Host:
    """Start it, keep it, stop it. `base` is Envoy's configuration as far as the plugin's settings decide it."""

    def __init__(self, options: HostOptions, base: EnvoyConfig) -> None:
        self.options = options
        self.ports = HostPorts.pick(options)
        self.redis_url = options.redis_url
        self._envoy_config = envoy_config(options, self.ports, base)
        self._lock: TextIOWrapper | None = None
        self.children: list[KeptProcess] = []
        self.spare = Spare(options.logs, shared_environment(options, os.environ))

    async def start(self) -> None:
        """Until the gateway serves; raises ProcessError, EnvoyError, OSError."""
        await self._gateway_port()
        if not self.redis_url:
            await self._add(self._valkey()).start()
        workers = [self._add(self._worker(number)) for number in range(self.options.workers)]
        await asyncio.gather(*(worker.start() for worker in workers))
        await self._add(self._envoy()).start()
        write_state(self.options, self.ports)

    async def keep(self) -> None:
        """Heals whatever ends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for child in self.children:
                group.create_task(child.keep())
            group.create_task(self._trim_logs())
            group.create_task(self._keep_spare())

    async def stop(self, hurrying: asyncio.Event) -> None:
        """Lets requests in flight end, for the time they have or until `hurrying`; then everything, Envoy first."""
        envoys = [child for child in self.children if child.name == "envoy"]
        if envoys and envoys[0].running:
            await self._drain(hurrying)
        await self.spare.stop()
        for name in ("envoy", "worker", "valkey"):
            await asyncio.gather(
                *(child.stop(signal.SIGTERM) for child in self.children if child.name.startswith(name))
            )
        if self._lock is not None:
            self._lock.close()

    def write_envoy(self, config: Callable[[EnvoyConfig], EnvoyConfig]) -> list[str]:
        """Puts Envoy's files in place, with what `config` adds, for a running Envoy, too. Returns what changed."""
        return write(config(self._envoy_config), self.options.envoy_directory.resolve())

    def _add(self, child: KeptProcess) -> KeptProcess:
        self.children.append(child)
        return child

    def own_directory(self) -> None:
        """Nobody else's from here on; raises ProcessError. Call it first."""
        self.options.logs.mkdir(parents=True, exist_ok=True)
        self._lock = (self.options.directory / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessError(
                f"another `gateway-plugin up` runs with {self.options.directory}; give this one its own --directory"
            ) from None

    async def _gateway_port(self) -> None:
        deadline = asyncio.get_running_loop().time() + _PORT_SECONDS
        while problem := _cannot_listen(self.options.listen.host, self.ports.gateway):
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessError(f"{problem}; choose another place with --listen HOST:PORT")
            await asyncio.sleep(_LOOK_SECONDS)

    def _valkey(self) -> KeptProcess:
        directory = self.options.directory / "valkey"
        directory.mkdir(exist_ok=True)
        password = secrets.token_urlsafe(24)
        # In a file, which other users of the machine cannot read; a command line they can.
        config = directory / "valkey.conf"
        with open(config, "w", opener=_only_mine) as opened:
            opened.write(f"requirepass {password}\n")
        self.redis_url = f"redis://:{password}@{HOST}:{self.ports.redis}/0"
        argv = [valkey_binary(), str(config), "--port", str(self.ports.redis), "--bind", HOST, "--dir", str(directory)]
        argv += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        return KeptProcess("valkey", argv, self.options.logs, {}, _listens(self.ports.redis))

    def _worker(self, number: int) -> KeptProcess:
        environment = worker_environment(self.options, self.ports, number, self.redis_url, os.environ)
        ready = _answers(f"http://{HOST}:{self.ports.workers[number].ops}/healthz")
        argv = [script("gateway-plugin"), "serve"]
        return KeptProcess(f"worker-{number}", argv, self.options.logs, environment, ready, self.spare)

    def _envoy(self) -> KeptProcess:
        threads = max(2, self.options.workers)
        argv = envoy_argv(self.options.envoy_directory.resolve(), threads)
        ready = _answers(f"http://{HOST}:{self.ports.envoy_admin}/ready")
        return KeptProcess("envoy", argv, self.options.logs, {}, ready)

    async def _keep_spare(self) -> None:
        while True:
            await self.spare.start()
            await asyncio.sleep(_SPARE_SECONDS)

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOGS_SECONDS)
            for child in self.children:
                await asyncio.to_thread(child.trim_log)

    async def _drain(self, hurrying: asyncio.Event) -> None:
        admin = f"http://{HOST}:{self.ports.envoy_admin}"
        timeout = aiohttp.ClientTimeout(total=1.0)
        with suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.timeout(self.options.drain_seconds):
                await (await session.post(f"{admin}/drain_listeners?graceful&skip_exit")).read()
                while await _in_flight(session, admin) and not hurrying.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(hurrying.wait(), _LOOK_SECONDS)


def _cannot_listen(host: str, port: int) -> str:
    """Why; empty where it can."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        return f"{host}:{port} cannot be listened on ({error.strerror or error})"
    return ""


async def _in_flight(session: aiohttp.ClientSession, admin: str) -> int:
    """Requests that Envoy has open."""
    async with session.get(f"{admin}/stats?filter=^http.gateway.downstream_rq_active$") as answer:
        told = (await answer.text()).strip().rpartition(":")[2].strip()
    return int(told) if told.isdecimal() else 0


def _answers(url: str) -> Callable[[Process], Awaitable[None]]:
    return lambda process: process.wait_ready(url, START_SECONDS)


def _listens(port: int) -> Callable[[Process], Awaitable[None]]:
    async def until(process: Process) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while process.running and asyncio.get_running_loop().time() < deadline:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return
            await asyncio.sleep(_LOOK_SECONDS)
        raise ProcessError(f"{process.name} did not start; the end of its log:\n{process.log_tail()}")

    return until


def _only_mine(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
