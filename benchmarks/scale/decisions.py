"""Choosing and booking a pod, by strategy and number of pods; and the other parts of a decision.

All pods are equal, known to the strategies (engine metrics, latency) and idle. The prompt has 32 KB, the first quarter
of which a tenth of the pods have seen. "A whole decision" is the exchange of one chat request, without transport:
headers, body, choice, booking, both replies serialised, release.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.exchange.collaborators import Services
from gateway_plugin.exchange.exchange import Exchange
from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.exchange.steps import Reply
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.openai.prompt import read_json_prompt
from protos.ext_proc import ProcessingRequest
from ratelimit import Admission, LimitDefaults, MemoryStore, UserRecord
from routing.pods.pod_table import PodTable
from routing.prefix.prefix_blocks import prefix_keys, prefix_seed
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.every import ALIASES
from routing.strategies.policy import RoutingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from routing.strategies.policy import Policy

PODS = (10, 30, 100, 300, 1000, 3000, 5000)
KIB = 1024
PROMPT_BYTES = 32 * KIB
_READINGS = {
    "running_requests": 3.0,
    "waiting_requests": 0.0,
    "kv_usage_ratio": 0.3,
}


def choices(pods: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every strategy with so many pods."""
    router = make_router(pods)
    source = random.Random(0)
    prompt = source.randbytes(PROMPT_BYTES)
    shared = prefix_keys(prefix_seed("m"), prompt[: PROMPT_BYTES // 4])
    for row in range(0, pods, 10):
        router.prefixes.insert(row, shared)
    keys = prefix_keys(prefix_seed("m"), prompt)
    request = RoutingRequest(
        "m",
        user="kim",
        session="a conversation",
        prompt_tokens=PROMPT_BYTES / 4,
        output_tokens=200.0,
        prefix=keys.hashes,
        prefix_tokens=keys.tokens,
    )
    for strategy in sorted({*router.strategies()} - {*ALIASES}):
        policy = router.policy(strategy)
        assert policy is not None
        yield strategy, partial(book, router, policy, request)


def book(router: Router, policy: Policy, request: RoutingRequest) -> None:
    """Chooses, books, and gives back."""
    router.book(policy, request).lease.release()


def parts() -> Iterator[tuple[str, Callable[[], object]]]:
    """What else a decision is made of."""
    for kib in (1, 32, 256):
        yield f"read a chat body of {kib} KiB", partial(read_json_prompt, BodyKind.CHAT, body(kib * KIB))
    store, charges = MemoryStore(time.time, LimitDefaults()), itertools.count()
    asyncio.run(store.create(UserRecord("kim", rpm=10**9, tpm=10**9)))
    yield "admit in memory", lambda: store.admit(Admission("kim", str(next(charges)), "m", 100))
    for strategy in ("least-request", "prefix-cache-and-load"):
        yield f"a whole decision, {strategy}, 1 KiB, 100 pods", decision(make_router(100), KIB, strategy)


def decision(router: Router, body_bytes: int, strategy: str) -> Callable[[], object]:
    """One exchange from Envoy's two messages to the two replies, as bytes."""
    services = Services(router, Rules(strategy), Metrics(), lambda: "0" * 32, time.perf_counter)
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
            step = exchange.receive(message)
            assert isinstance(step, Reply)
        exchange.end()

    return run


def make_router(pods: int) -> Router:
    """A router over equal, idle pods of which everything is known."""
    table = PodTable(time.monotonic)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.{i // 250}.{i % 250}:8000", ("m",)) for i in range(pods))
    table.apply(ClusterState(specs, frozenset()))
    for row, pod in list(table.items()):
        table.polled(row, table.incarnation(row), _READINGS)
        table.observe(pod.address, ttft_seconds=0.2, tpot_seconds=0.02)
    return Router(table, np.random.default_rng(0), candidates=2)


def body(size_bytes: int) -> bytes:
    """A chat request of about that size."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * size_bytes}]}).encode()
