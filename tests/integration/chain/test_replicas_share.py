"""Two replicas behind one Envoy, with one Redis: what each knows of the other's requests."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

STREAM = BODY | {"stream": True, "max_tokens": 5000, "ignore_eos": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Engines that take most of a minute for a stream."""
    async with open_gateway(StackOptions({"m": 3}, speed=1, replicas=2)) as opened:
        yield opened


async def debug_pods(gateway: Gateway, replica: int) -> list[dict[str, Any]]:
    pods: list[dict[str, Any]] = (await gateway.http.get(f"{gateway.stack.ops_url_of(replica)}/debug/pods")).json()
    return pods


async def seen_by(gateway: Gateway, replica: int) -> list[int]:
    """In flight per pod, own and others'."""
    pods = await debug_pods(gateway, replica)
    return [pod["inflight_requests"] + pod["inflight_requests_elsewhere"] for pod in pods]


async def seconds_until_both_see(gateway: Gateway, total: int) -> float:
    began = time.monotonic()
    while True:
        views = await asyncio.gather(seen_by(gateway, 0), seen_by(gateway, 1))
        seconds = time.monotonic() - began
        if views[0] == views[1] and sum(views[0]) == total:
            return seconds
        assert seconds < 15, views
        await asyncio.sleep(0.01)


async def metric(gateway: Gateway, replica: int, name: str) -> float:
    text = (await gateway.http.get(f"{gateway.stack.ops_url_of(replica)}/metrics")).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


class Streams:
    """Open streams, newest last."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: list[tuple[AsyncExitStack, AsyncIterator[str]]] = []

    async def open(self, count: int) -> None:
        await asyncio.gather(*(self._open_one() for _ in range(count)))

    async def close(self, count: int | None = None) -> None:
        closing = self._open[-count:] if count else list(self._open)
        del self._open[-len(closing) :]
        await asyncio.gather(*(stack.aclose() for stack, _ in closing))

    async def _open_one(self) -> None:
        stack = AsyncExitStack()
        url = f"{self._gateway.stack.gateway_url}/v1/chat/completions"
        answer = await stack.enter_async_context(self._gateway.http.stream("POST", url, json=STREAM))
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        await anext(lines)
        # An iterator that is thrown away closes its response.
        self._open.append((stack, lines))


@pytest_asyncio.fixture(loop_scope="session")
async def streams(pair: Gateway) -> AsyncIterator[Streams]:
    opened = Streams(pair)
    yield opened
    await opened.close()


async def test_both_know_all_requests_within_half_a_second(pair: Gateway, streams: Streams):
    waits, total = [], 0
    for change in (6, 12, -9, 15, -4, 7):
        await (streams.open(change) if change > 0 else streams.close(-change))
        total += change
        waits.append(await seconds_until_both_see(pair, total))
    own = [sum(pod["inflight_requests"] for pod in await debug_pods(pair, replica)) for replica in (0, 1)]
    assert min(own) > 0, "both have a share"
    assert sum(own) == total
    await streams.close()
    waits.append(await seconds_until_both_see(pair, 0))
    assert statistics.median(waits) < 0.5, waits


async def test_the_load_is_even_over_what_both_sent(pair: Gateway, streams: Streams):
    for _ in range(12):
        await streams.open(2)
    await seconds_until_both_see(pair, 24)
    at_each = await seen_by(pair, 0)
    assert max(at_each) - min(at_each) <= 3, at_each


async def both(gateway: Gateway, name: str) -> float:
    return await metric(gateway, 0, name) + await metric(gateway, 1, name)


async def grows(gateway: Gateway, name: str, beyond: float) -> None:
    deadline = time.monotonic() + 15
    while await both(gateway, name) <= beyond:
        assert time.monotonic() < deadline, f"{name} stays {beyond}"
        await asyncio.sleep(0.05)


async def test_log_entries_find_the_replica_that_booked(pair: Gateway):
    received = 'gateway_replica_outcomes_total{event="received"}'
    begun = await both(pair, received)
    for _ in range(20):
        assert (await pair.post()).status_code == 200
    await grows(pair, received, begun)


async def ask(gateway: Gateway, prompt: str) -> str:
    """Returns the pod that answered."""
    body = BODY | {"messages": [{"role": "user", "content": prompt}]}
    answer = await gateway.post(body, **{"routing-strategy": "prefix-cache"})
    assert answer.status_code == 200
    return answer.headers["target-pod"]


async def test_a_prompt_that_one_replica_sent_to_a_pod_is_found_there_by_both(pair: Gateway):
    taken, told = (f'gateway_replica_prompts_total{{event="{event}"}}' for event in ("taken", "told"))
    deadline = time.monotonic() + 20
    number = 0
    # A replica knows after five seconds that it is not alone.
    while not (await metric(pair, 0, told) and await metric(pair, 1, told)):
        assert time.monotonic() < deadline
        number += 1
        await ask(pair, f"{number} warm up " * 100)
    await asyncio.sleep(1)
    begun = await both(pair, taken)
    first = await ask(pair, "tell me more " * 400)
    await grows(pair, taken, begun)
    assert {await ask(pair, "tell me more " * 400) for _ in range(8)} == {first}


async def test_a_killed_replicas_share_disappears_within_two_seconds(pair: Gateway, streams: Streams):
    await streams.open(12)
    await seconds_until_both_see(pair, 12)
    victim = sum(pod["inflight_requests"] for pod in await debug_pods(pair, 1))
    assert victim > 0
    await pair.stack.stop_plugin(1, signal.SIGKILL)
    began = time.monotonic()
    while any(pod["inflight_requests_elsewhere"] for pod in await debug_pods(pair, 0)):
        assert time.monotonic() - began < 15
        await asyncio.sleep(0.01)
    seconds = time.monotonic() - began
    assert seconds < 2.0
    assert await metric(pair, 0, "gateway_replica_peers ") == 0
    await pair.stack.start_plugin(1)
    assert (await pair.http.get(f"{pair.stack.ops_url_of(1)}/readyz")).status_code == httpx.codes.OK
