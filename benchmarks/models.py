"""`python -m benchmarks.models`: the models endpoint with 1,000 models of 10 pods each.

A server process holds the real catalogue behind the real HTTP listener; this process asks 500 times a second (open
loop: at fixed times, whatever became of the requests before) over kept-alive connections, and measures from the time a
request was due to its last byte. `changes` is how long after discovery told of a pod the list had it; one pod a second
comes or goes in the rows that say so. Client and server share the machine.
"""

from __future__ import annotations

import asyncio
import gc
import platform
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import httpx
import numpy as np
import uvloop
from fastapi import FastAPI
from rich.console import Console
from rich.table import Table

from gateway_plugin.api.models import models_router, sees_everything
from gateway_plugin.catalogue.catalogue import Catalogue
from gateway_plugin.catalogue.figures import FigureBook
from gateway_plugin.catalogue.pages import Pages
from gateway_plugin.catalogue.windows import LatencyWindows
from gateway_plugin.catalogue_store.local import MemoryCatalogueStore
from gateway_plugin.demo.ports import free_port
from gateway_plugin.engines.known_models import KnownModels
from gateway_plugin.listeners import HttpListener
from gateway_plugin.live.live_catalogue import LiveCatalogue, Sources
from routing.pods import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS, PODS = 1000, 10
RATE_PER_SECOND = 500
SECONDS = 8.0
CONNECTIONS = 64
HOST = "127.0.0.1"


class Measured(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float
    kib: float


def pods() -> list[PodSpec]:
    """All of them."""
    return [
        PodSpec(f"m{model}-{at}", f"10.{model // 250}.{model % 250}.{at}:8000", (f"model-{model:04d}",))
        for model in range(MODELS)
        for at in range(PODS)
    ]


class Server:
    """The catalogue and its API; with changes, the last pod comes and goes once a second."""

    def __init__(self) -> None:
        self.table = PodTable(time.monotonic)
        self.known = KnownModels(self.table.apply)
        self.live = LiveCatalogue(
            Catalogue(time.time), Sources(self.table, self.known), MemoryCatalogueStore(), "benchmark"
        )
        self.changes: list[float] = []
        self.is_changing = False
        self._pods = pods()

    async def run(self, port: int) -> None:
        """Serves until killed."""
        self.known.discovered(ClusterState(tuple(self._pods), frozenset()))
        await self.live.load()
        gc.freeze()  # as the service does
        app = FastAPI()
        pages = Pages(FigureBook(self.table, LatencyWindows(time.monotonic), dict))
        app.include_router(models_router(self.live, pages, sees_everything))
        app.add_api_route("/changes", self.told)
        await asyncio.gather(HttpListener(app, HOST, port, "port").run(), self.live.run(), self.change())

    async def told(self, on: bool = False) -> list[float]:
        """Seconds that changes took so far; starts or stops them."""
        told, self.changes, self.is_changing = self.changes, [], on
        return told

    async def change(self) -> None:
        """One pod less, one pod more."""
        count = len(self._pods)
        while True:
            await asyncio.sleep(1.0)
            if self.is_changing:
                count = len(self._pods) - 1 if count == len(self._pods) else len(self._pods)
                version, began = self.live.snapshot.version, time.perf_counter()
                self.known.discovered(ClusterState(tuple(self._pods[:count]), frozenset()))
                while self.live.snapshot.version == version:  # noqa: ASYNC110 - that is what clients would do
                    await asyncio.sleep(0.001)
                self.changes.append(time.perf_counter() - began)


@contextmanager
def server() -> Iterator[int]:
    """The port of a server that lasts as long as the block."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.models", str(port)])
    try:
        for _ in range(1000):
            with suppress(OSError), socket.create_connection((HOST, port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


class Connections:
    """Kept alive, one request at a time on each."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self) -> None:
        """All of them; new ones each time, because the server closes those that are idle."""
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection(HOST, self._port, limit=2**20))

    async def ask(self, request: bytes, due: float) -> tuple[float, int]:
        """Seconds since it was due, and bytes of the body."""
        reader, writer = await self._free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        body = await reader.readexactly(int(length or b"0"))
        self._free.put_nowait((reader, writer))
        return time.perf_counter() - due, len(body)


async def measure(port: int, path: str, etag: str = "") -> Measured:
    """All requests, each at its time."""
    connections = Connections(port)
    await connections.open()
    condition = f"if-none-match: {etag}\r\n" if etag else ""
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\n{condition}\r\n".encode()
    for _ in range(20):
        await connections.ask(request, 0.0)
    began, asked = time.perf_counter() + 0.1, []
    for number in range(int(RATE_PER_SECOND * SECONDS)):
        due = began + number / RATE_PER_SECOND
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        asked.append(asyncio.create_task(connections.ask(request, due)))
    answers = await asyncio.gather(*asked)
    times = np.array([seconds for seconds, _ in answers]) * 1e3
    return Measured(float(np.percentile(times, 50)), float(np.percentile(times, 99)), answers[-1][1] / 1024)


async def client(port: int) -> Table:
    """Every row."""
    table = Table("what, at 500 requests/s", "p50 ms", "p99 ms", "KiB", "target p99", show_edge=False)
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as http:
        etag = (await http.get("/v1/models")).headers["etag"]
        for what, path, sent, target in (
            ("list, basic", "/v1/models", "", "10 ms"),
            ("list, 304", "/v1/models", etag, "2 ms"),
            ("one model", "/v1/models/model-0500", "", ""),
            ("page of 20, full", "/v1/models?limit=20&detail=full", "", ""),
        ):
            add(table, what, await measure(port, path, sent), target)
        await http.get("/changes?on=true")
        add(table, "list, basic; a change a second", await measure(port, "/v1/models"), "10 ms")
        changes = np.array((await http.get("/changes")).json()) * 1e3
        table.add_row("change visible", f"{np.median(changes):.0f}", f"{changes.max():.0f} (most)", "", "1,000 ms")
    return table


def add(table: Table, what: str, result: Measured, target: str) -> None:
    """One line."""
    table.add_row(what, f"{result.p50:.2f}", f"{result.p99:.2f}", f"{result.kib:.1f}", target)


def main() -> None:
    """Prints one table; with a port, it is the server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if len(sys.argv) > 1:
            runner.run(Server().run(int(sys.argv[1])))
            return
        with server() as port:
            table = runner.run(client(port))
    console = Console()
    console.print(f"Python {platform.python_version()}, {platform.machine()}, {MODELS} models of {PODS} pods")
    console.print(table)


if __name__ == "__main__":
    main()
