"""Over an outage of any kind a user gets its limit, and what was in flight, whatever the number of replicas."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.limits.outage_bound import KINDS, LIMIT, WORKERS, Load, Measured, measure
from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import Admission, Outcome, RedisStore, UserRecord

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("replicas", [1, 4])
async def test_a_user_gets_at_most_its_limit(tmp_path, replicas: int):
    async def one(kind: str) -> Measured:
        async with Valkey(tmp_path / kind, keeps=True) as valkey:
            return await measure(valkey, kind, replicas)

    found = dict(zip(KINDS, await asyncio.gather(*map(one, KINDS)), strict=True))
    # At most one request of each worker was under way when the store broke; the evicting one breaks four times.
    in_flight = replicas * WORKERS
    most = {kind: LIMIT + (5 if kind == "evicting" else 1) * in_flight for kind in KINDS}
    wrong = {kind: one for kind, one in found.items() if not 0.8 * LIMIT <= one.admitted <= most[kind]}
    assert wrong == {}
    assert [measured.failures for measured in found.values()] == [0] * len(KINDS)
    # What was admitted without the store was told to it, once.
    assert {kind: (one.counted, one.admitted) for kind, one in found.items() if one.counted < 0.8 * one.admitted} == {}


async def test_replicas_know_what_others_let_in(tmp_path):
    """All of the limit went through one of four when the store dies."""
    async with Valkey(tmp_path, keeps=True) as valkey:
        setting_up = RedisStore.from_url(valkey.url, timeout_seconds=5)
        for name in ("lgy", "somebody"):
            await setting_up.create(UserRecord(name, rpm=LIMIT, tpm=10**9))
        await setting_up.close()
        load = Load(valkey.url, 4)
        for limits in load.limits:
            await limits.admit(Admission("somebody", f"{id(limits)}"))
        spent = [await load.limits[0].admit(Admission("lgy", f"a{n}")) for n in range(LIMIT - 8)]
        await asyncio.sleep(1.0)
        valkey.kill()
        asked = [limits.admit(Admission("lgy", f"b{n}-{id(limits)}")) for limits in load.limits for n in range(20)]
        late = await asyncio.gather(*asked)
        await load.close()
    assert {decision.outcome for decision in spent} == {Outcome.ADMITTED}
    assert sum(decision.outcome is Outcome.ADMITTED for decision in late) == 8
