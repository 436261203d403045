"""What it costs to keep the engine metrics of many pods fresh.

Pages of 60 KB come over loopback HTTP from another process, every pod on a port of its own; the scraper runs as in the
service, on uvloop, once per second and pod. The share is this process's CPU time per second of wall-clock time.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import random
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import read_page
from gateway_plugin.pods.engines.readings import Readings
from gateway_plugin.pods.engines.scraper import Scraper
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

PODS = (10, 30, 100, 300)
SECONDS = 3
WARM_UP_SECONDS = 1.2
PAGES = 40

_LABELS = 'engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"'
_VALUES = (
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "prompt_tokens_total",
)
_HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_prefill_time_seconds",
    "request_prefill_kv_computed_tokens",
    *(f"request_filler_{number}_seconds" for number in range(8)),
)


def page(poll: int) -> bytes:
    """A vLLM page of about 60 KB as it would be at the given poll: every counter has grown since the one before."""
    value = 3000.0 * poll
    lines = [f'vllm:cache_config_info{{block_size="16",{_LABELS},num_gpu_blocks="20000"}} 1.0']
    lines += [f"vllm:{name}{{{_LABELS}}} {value}" for name in _VALUES]
    for name in _HISTOGRAMS:
        lines += [f"# HELP vllm:{name} Histogram.", f"# TYPE vllm:{name} histogram"]
        lines += [f'vllm:{name}_bucket{{{_LABELS},le="{bound / 8}"}} {value}' for bound in range(41)]
        lines += [f"vllm:{name}_count{{{_LABELS}}} {float(poll)}", f"vllm:{name}_sum{{{_LABELS}}} {value}"]
    return ("\n".join(lines) + "\n").encode()


def answer(body: bytes) -> bytes:
    """A whole HTTP response."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Engine(asyncio.Protocol):
    """One kept-alive connection to a pod: any request is answered with the next page."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = iter(answers)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers at the end of the head."""
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(next(self.answers))


def serve(addresses: Connection, pods: int) -> None:
    """The other process: listens for all pods, tells where, and stays."""

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        answers = [answer(page(poll)) for poll in range(PAGES)]
        servers = [await loop.create_server(partial(Engine, answers), "127.0.0.1", 0) for _ in range(pods)]
        addresses.send(["127.0.0.1:{1}".format(*server.sockets[0].getsockname()) for server in servers])
        await asyncio.Event().wait()

    asyncio.run(listen())


@contextmanager
def engines(pods: int) -> Iterator[list[str]]:
    """The addresses of so many engines in another process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, pods), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def cost_of(pods: int, seconds: int = SECONDS) -> tuple[list[float], dict[str, int]]:
    """CPU seconds per second, one for each second, and how scrapes ended."""
    table = PodTable(time.monotonic)
    scraper = Scraper(table, random.Random(0))
    with engines(pods) as addresses:
        specs = tuple(PodSpec(f"pod-{at}", address, ("m",)) for at, address in enumerate(addresses))
        table.apply(ClusterState(specs, frozenset()))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(shares(scraper, seconds))
    return measured, {outcome.value: count for outcome, count in scraper.outcomes.items() if count}


async def shares(scraper: Scraper, seconds: int) -> list[float]:
    """CPU time per wall-clock time, second by second, once all connections stand."""
    task = asyncio.create_task(scraper.run())
    await asyncio.sleep(WARM_UP_SECONDS)
    scraper.outcomes.update(dict.fromkeys(scraper.outcomes, 0))
    measured = []
    for _ in range(seconds):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(1.0)
        measured.append((time.process_time() - cpu) / (time.perf_counter() - wall))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return measured


def reading() -> Callable[[], object]:
    """Reads one page into columns, without HTTP."""
    engine = engine_named("vllm")
    readings = Readings(engine)
    pages = itertools.cycle([page(poll) for poll in range(PAGES)])
    return lambda: readings.add(read_page(next(pages), engine))
