"""A flood of long answers against one server, asked by four replicas, in the server's virtual time."""

from __future__ import annotations

import asyncio
import heapq
import random

import pytest

from ratelimit import Admission, Outcome, RedisStore, Settlement, UserRecord
from tests.integration.limits.virtual_time import set_clock

LIMIT, CEILING, PROMPT, REPLICAS = 10_000, 32_000, 15, 4
TOKENS_PER_SECOND, MINUTES = 5000.0, 40


@pytest.mark.usefixtures("virtual_time")
async def test_four_replicas_hold_a_flood_to_the_limit(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=5) for _ in range(REPLICAS)]
    rng, now, passed = random.Random(11), 1000.25, []
    await stores[0].create(UserRecord("lgy", rpm=100_000, tpm=LIMIT))
    events: list[tuple[float, int, Settlement | None]] = [(now + rng.random(), number, None) for number in range(12)]
    heapq.heapify(events)
    number = 100
    with server.client() as client:
        while events[0][0] < 1000 + 60 * MINUTES:
            now, _, charge = heapq.heappop(events)
            set_clock(client, now)
            number += 2
            store = stores[number // 2 % REPLICAS]
            if charge is not None:
                assert await store.settle(charge)
                continue
            asked = Admission("lgy", f"{number}", "m", PROMPT, likely_output=128, max_output=CEILING)
            decision = await store.admit(asked)
            if decision.outcome is not Outcome.ADMITTED:
                assert 0 < decision.retry_after_seconds <= 59
                heapq.heappush(events, (now + decision.retry_after_seconds, number, None))
                continue
            output = rng.randint(2000, 30_000)
            passed.append((now, PROMPT + output))
            done = now + output / TOKENS_PER_SECOND
            charge = Settlement("lgy", f"{number}", PROMPT + output, decision.reserved_tokens, "m", output)
            heapq.heappush(events, (done + rng.random(), number, charge))
            heapq.heappush(events, (done, number + 1, None))
    await asyncio.gather(*(store.close() for store in stores))
    minutes = [sum(tokens for at, tokens in passed if begin <= at < begin + 60) for begin, _ in passed]
    assert max(minutes) <= LIMIT + 5 * CEILING
    assert LIMIT * (MINUTES - 10) < sum(tokens for _, tokens in passed) <= LIMIT * (MINUTES + 1) + 5 * CEILING
