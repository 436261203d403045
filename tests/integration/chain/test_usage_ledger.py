"""The usage ledger against the engines' own counters, through the whole chain, with retries and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

REQUESTS = 2000
ABORTS = 40
AT_ONCE = 32
USERS = 5


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    environment = {"GATEWAY_LEDGER": "true", "GATEWAY_PRICES": "m=1/0.1/2"}
    async with open_gateway(StackOptions({"m": 3}, speed=1000, replicas=2, plugin_environment=environment)) as opened:
        for number in range(USERS):
            await opened.create_user(f"ledger-{number}", rpm=1_000_000, tpm=1_000_000_000)
        yield opened


async def engine_counts(gateway: Gateway) -> Counter[str]:
    counts: Counter[str] = Counter()
    for pod in await gateway.pods():
        for line in (await gateway.http.get(f"http://{pod['address']}/metrics")).text.splitlines():
            for name in ("prompt_tokens_total", "generation_tokens_total"):
                if line.startswith(f"vllm:{name}{{"):
                    counts[name] += int(float(line.rsplit(" ", 1)[1]))
    return counts


async def used(gateway: Gateway, **query: str) -> list[dict[str, Any]]:
    answer = await gateway.http.get(f"{gateway.stack.api_url}/v1/usage", params=query)
    return [result for bucket in answer.json()["data"] for result in bucket["results"]]


async def until_counted(gateway: Gateway, requests: int) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while True:
        sums = await used(gateway)
        if sums and sums[0]["num_model_requests"] >= requests:
            return sums[0]
        assert time.monotonic() < deadline, sums
        await asyncio.sleep(0.2)


async def send_all(gateway: Gateway) -> tuple[int, int]:
    """Prompt and output tokens that clients were told."""
    rng, told, places = random.Random(1), [0, 0], asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        body: dict[str, Any] = {
            "model": "m",
            "messages": [{"role": "user", "content": "word " * rng.randint(1, 60)}],
            "max_tokens": rng.randint(1, 20),
            "ignore_eos": True,
        }
        async with places:
            answer = await gateway.post(body, user=f"ledger-{number % USERS}")
        assert answer.status_code == 200, answer.text
        told[0] += answer.json()["usage"]["prompt_tokens"]
        told[1] += answer.json()["usage"]["completion_tokens"]

    await asyncio.gather(*map(one, range(REQUESTS)))
    return told[0], told[1]


async def leave(gateway: Gateway) -> None:
    """Streams whose clients go after the first chunk, and do not wait for the rest."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4000, "ignore_eos": True}
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"

    async def one(number: int) -> None:
        headers = {"user": f"ledger-{number % USERS}"}
        with contextlib.suppress(httpx.HTTPError):
            async with gateway.http.stream("POST", url, json=body | {"stream": True}, headers=headers) as answer:
                async for _ in answer.aiter_bytes():
                    return

    await asyncio.gather(*map(one, range(ABORTS)))


async def test_it_equals_what_engines_count(kept: Gateway):
    before = await engine_counts(kept)
    # Pods that refuse are passed over: Envoy tries the next one, and only that one computes.
    first = (await kept.pods())[0]["address"]
    await kept.http.post(f"http://{first}/debug/faults", json={"status": 503, "times": 20})
    prompt, output = await send_all(kept)
    sums = await until_counted(kept, REQUESTS)
    counted = await engine_counts(kept) - before
    assert (sums["input_tokens"], sums["output_tokens"]) == (prompt, output)
    assert (prompt, output) == (counted["prompt_tokens_total"], counted["generation_tokens_total"])
    assert (sums["num_model_requests"], sums["succeeded_requests"]) == (REQUESTS, REQUESTS)
    assert sums["cost"] > 0
    by_user = await used(kept, group_by="user")
    assert [one["user_id"] for one in by_user] == [f"ledger-{number}" for number in range(USERS)]
    assert [one["num_model_requests"] for one in by_user] == [REQUESTS // USERS] * USERS


async def test_who_leaves_is_told_apart_and_never_above(kept: Gateway):
    before = sum(one["num_model_requests"] for one in await used(kept))
    await leave(kept)
    sums = await until_counted(kept, before + ABORTS)
    await asyncio.sleep(0.5)
    counted = await engine_counts(kept)
    assert sums["num_model_requests"] - before == ABORTS
    assert sums["aborted_requests"] > 0
    assert sums["estimated_tokens"] > 0
    assert sums["input_tokens"] <= counted["prompt_tokens_total"]
    assert sums["output_tokens"] <= counted["generation_tokens_total"]
