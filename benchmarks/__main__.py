"""`make bench`: what the plugin's own decisions cost, without gRPC and Envoy. Medians of repeats in one run.

A decision is the whole exchange of one chat request: headers, body, choice, booking, both replies serialised, release.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import platform
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gateway_plugin.extproc.exchange import Exchange, Services
from gateway_plugin.extproc.steps import Reply
from gateway_plugin.intent.headers import Rules
from gateway_plugin.metrics import Metrics
from gateway_plugin.openai.endpoints import BodyKind
from gateway_plugin.openai.prompt import read_json_prompt
from protos.ext_proc import ProcessingRequest
from ratelimit import Admission, LimitDefaults, MemoryStore, UserRecord
from routing.pods import PodTable
from routing.policy import Policy, RoutingRequest
from routing.router import Router
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 7
CALLS = 2000
KIB = 1024


def main() -> None:
    """Prints one table: median microseconds per call, with the least and the most of the repeats."""
    table = Table("what", "median us", "least", "most", show_edge=False)
    for name, call in track(list(cases().items()), description="measuring", transient=True):
        times = [microseconds(call) for _ in range(REPEATS)]
        table.add_row(name, *(f"{value:.1f}" for value in (statistics.median(times), min(times), max(times))))
    console = Console()
    console.print(f"Python {platform.python_version()}, {platform.machine()}, {REPEATS} repeats of {CALLS} calls")
    console.print(table)


def microseconds(call: Callable[[], object]) -> float:
    """Mean time of one call."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6


def cases() -> dict[str, Callable[[], object]]:
    """Everything that is measured, by name."""
    measured: dict[str, Callable[[], object]] = {}
    for kib in (1, 32, 256):
        measured[f"read head and prompt of a chat body, {kib} KiB"] = partial(
            read_json_prompt, BodyKind.CHAT, body(kib * KIB)
        )
    for count in (10, 100, 1000):
        router = make_router(count)
        for strategy in router.strategies():
            policy = router.policy(strategy)
            assert policy is not None
            measured[f"choose and book, {strategy}, {count} pods"] = partial(book, router, policy)
    store, charges = MemoryStore(time.time, LimitDefaults()), itertools.count()
    asyncio.run(store.create(UserRecord("kim", rpm=10**9, tpm=10**9)))
    measured["admit, memory store"] = lambda: store.admit(Admission("kim", str(next(charges)), "m", 100))
    measured["a whole decision, least-request, 100 pods, 1 KiB"] = decision(make_router(100), KIB)
    return measured


def book(router: Router, policy: Policy) -> None:
    """Chooses, books, and gives back."""
    router.book(policy, RoutingRequest("m", user="kim", session="a conversation")).lease.release()


def decision(router: Router, body_bytes: int) -> Callable[[], object]:
    """One exchange from Envoy's two messages to the two replies, as bytes."""
    services = Services(router, Rules("least-request"), Metrics(), lambda: "0" * 32, time.perf_counter)
    headers = ProcessingRequest()
    for key, value in ((":method", "POST"), (":path", "/v1/chat/completions"), ("content-type", "application/json")):
        header = headers.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    content = ProcessingRequest()
    content.request_body.body = body(body_bytes)
    messages = [headers.SerializeToString(), content.SerializeToString()]

    def run() -> None:
        exchange = Exchange(services)
        for message in messages:
            step = exchange.receive(ProcessingRequest.FromString(message))
            assert isinstance(step, Reply)
        exchange.end()

    return run


def make_router(pods: int) -> Router:
    """A router over equal, idle pods."""
    table = PodTable(time.monotonic)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.{i // 250}.{i % 250}:8000", ("m",)) for i in range(pods))
    table.apply(ClusterState(specs, frozenset()))
    return Router(table, np.random.default_rng(0), candidates=2)


def body(size_bytes: int) -> bytes:
    """A chat request of about that size."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * size_bytes}]}).encode()


if __name__ == "__main__":
    main()
