"""A store that goes away in the middle: nothing that was settled is lost, and nobody gets a quota twice."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from gateway_plugin.accounting.limiting import Limiting
from gateway_plugin.settings.loading import load
from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import Admission, Decision, GroupRecord, Outcome, Settlement, UserRecord

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]
COST, RESERVED = 7, 10


async def admit(limiter: Limiting, number: int) -> Decision:
    decision = limiter.admit(Admission(f"user-{number % 2}", f"charge-{number}", tokens=RESERVED))
    if inspect.isawaitable(decision):
        decision = await decision
    assert isinstance(decision, Decision)
    return decision


async def settle(limiter: Limiting, number: int) -> None:
    await limiter.settle_many([Settlement(f"user-{number % 2}", f"charge-{number}", COST, RESERVED)])


async def spent(limiter: Limiting) -> int:
    usage = await limiter.store.usage("user-0")
    assert usage is not None
    return sum(state.used for state in usage.quotas if (state.scope, state.kind) == ("group", "tokens"))


async def test_no_settled_token_is_lost(tmp_path):
    async with Valkey(tmp_path, keeps=True, options=["--appendfsync", "always"]) as valkey:
        environment = {"GATEWAY_REDIS_URL": valkey.url, "GATEWAY_LIMITER_TIMEOUT_SECONDS": "5"}
        limiter = Limiting(load(None, environment | {"GATEWAY_REDIS_TIMEOUT_SECONDS": "5"}).settings)
        await limiter.store.create_group(GroupRecord("team", quotas={"month": (100, 600)}))
        for number in range(2):
            user = UserRecord(f"user-{number}", rpm=10_000, tpm=10**9, group="team")
            await limiter.store.create(user)
        running = asyncio.create_task(limiter.run())
        admitted = [number for number in range(30) if (await admit(limiter, number)).outcome is Outcome.ADMITTED]
        assert len(admitted) == 30
        for number in admitted[:10]:
            await settle(limiter, number)
        await asyncio.to_thread(valkey.kill)
        # In flight when it went, and let in while it is away.
        for number in admitted[10:20]:
            await settle(limiter, number)
        during = [number for number in range(100, 200) if (await admit(limiter, number)).outcome is Outcome.ADMITTED]
        # 300 were reserved when the store was last heard: 300 are left, of which 30 requests have room.
        assert len(during) <= 30
        assert len(during) >= 20
        for number in during:
            await settle(limiter, number)
        await asyncio.to_thread(valkey.start)
        for number in admitted[20:]:
            await settle(limiter, number)
        expected = COST * (len(admitted) + len(during))
        for _ in range(600):
            resilient = limiter.resilient
            assert resilient is not None
            if not resilient.counts.queued and await _told(limiter) == expected:
                break
            await asyncio.sleep(0.1)
        assert await spent(limiter) == expected
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await limiter.close()


async def _told(limiter: Limiting) -> int:
    try:
        return await spent(limiter)
    except Exception:  # noqa: BLE001 - it is not back yet
        return -1
