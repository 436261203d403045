"""`python -m benchmarks.models`: the models endpoint with 1,000 models of 10 pods each.

A server process holds the real catalogue behind the real HTTP listener; this process asks 500 times a second (open
loop: at fixed times, whatever became of the requests before) over kept-alive connections, and measures from the time a
request was due to its last byte. `changes` is how long after discovery told of a pod the list had it; one pod a second
comes or goes in the rows that say so. Client and server share the machine.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import uvloop
from fastapi import FastAPI
from rich.table import Table

from benchmarks.models_client import HOST, RATE_PER_SECOND, Measured, measure
from benchmarks.results import Figure, Line, Result, machine
from benchmarks.running import conclude, options, progress
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.http.models import models_router, sees_everything
from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.figures import FigureBook
from gateway_plugin.models.catalogue.pages import Pages
from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store.registry_in_file import MemoryCatalogueStore
from gateway_plugin.pods.engines.known_models import KnownModels
from gateway_plugin.tools.chain.ports import free_port
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODELS, PODS = 1000, 10
SECONDS, QUICK_SECONDS = 6.0, 0.5
CHANGING, CHANGE = "list, with a change a second", "until a change is seen"
CASES = (
    ("list", "/v1/models", False),
    ("list, 304", "/v1/models", True),
    ("one model", "/v1/models/model-0500", False),
    ("page of 20, full", "/v1/models?limit=20&detail=full", False),
)
"""What, its path, and whether the client has it already."""
TARGETS_MS = {"list": 10.0, "list, 304": 2.0, CHANGING: 10.0, CHANGE: 1000.0}


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
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.models", "--serve", str(port)])
    try:
        for _ in range(1000):
            with suppress(OSError), socket.create_connection((HOST, port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


async def client(port: int, seconds: float) -> dict[str, Measured]:
    """Every case; `CHANGE` has milliseconds until a change was seen."""
    found = {}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as http:
        etag = (await http.get("/v1/models")).headers["etag"]
        for what, path, sent in CASES:
            found[what] = await measure(port, path, etag if sent else "", seconds)
        await http.get("/changes?on=true")
        found[CHANGING] = await measure(port, "/v1/models", "", seconds)
        changes = [each * 1e3 for each in (await http.get("/changes")).json()]
    if changes:
        found[CHANGE] = Measured(statistics.median(changes), max(changes), 0.0, {}, 0)
    return found


def as_result(rounds: Sequence[dict[str, Measured]], seconds: float) -> Result:
    """In the common form."""
    figures = [
        Figure(f"{what}/{name}", unit, tuple(round(getattr(one[what], name), 3) for one in rounds if what in one))
        for what in rounds[0]
        for name, unit in (("p50", "ms"), ("p99", "ms"), ("kib", "KiB"))
        if name != "kib" or what != CHANGE
    ]
    medians = {figure.path: figure.spread.median for figure in figures}
    lines = [
        Line(f"models: {what}, p99", medians[f"{what}/p99"], at_most, "ms")
        for what, at_most in TARGETS_MS.items()
        if f"{what}/p99" in medians
    ]
    load = {"models": MODELS, "pods of each": PODS, "per_second": RATE_PER_SECOND, "seconds": seconds}
    errors: Counter[str] = Counter()
    for one in (each for several in rounds for each in several.values()):
        errors.update(one.errors)
    return Result(
        name="models",
        machine=machine(),
        load=load,
        repeats=len(rounds),
        figures=figures,
        lines=lines,
        errors=dict(errors),
        timeouts=sum(one.timeouts for several in rounds for one in several.values()),
    )


def table(result: Result) -> Table:
    """For the terminal."""
    table = Table("what, at 500 requests/s", "median", "least", "most", "unit", show_edge=False)
    for figure in result.figures:
        spread = figure.spread
        table.add_row(
            figure.path, *(f"{value:.2f}" for value in (spread.median, spread.least, spread.most)), figure.unit
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes; with a port, it is the server."""
    parser = options("models", "The models endpoint with 1,000 models of 10 pods each.")
    parser.add_argument("--serve", type=int, default=0, help="be the server, on this port")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.serve:
            runner.run(Server().run(arguments.serve))
            return 0
        seconds = QUICK_SECONDS if arguments.quick else SECONDS
        with server() as port, progress() as bar:
            task = bar.add_task("models", total=arguments.repeats)
            rounds = []
            for _ in range(arguments.repeats):
                rounds.append(runner.run(client(port, seconds)))
                bar.advance(task)
    result = as_result(rounds, seconds)
    return conclude(result, arguments.out, [table(result)], quick=arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
