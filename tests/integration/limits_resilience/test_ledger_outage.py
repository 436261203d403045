"""The usage ledger while its server is killed, comes back with its data, and hangs: every request once, none lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway_plugin.accounting.ledger_writer import LedgerWriter
from gateway_plugin.tools.chain.valkey import Valkey
from protos.access_log import FinishedExchange
from ratelimit import RedisStore, StoreUnavailable

pytestmark = pytest.mark.redis

TOKENS = {"prompt_tokens": 10, "completion_tokens": 4}


def entry(number: int) -> FinishedExchange:
    user = f"user-{number % 7}"
    return FinishedExchange(f"c-{number}", user, "m", 200, "10.0.0.1:8000", 1.0, None, 1, False, tokens=TOKENS)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    async with Valkey(tmp_path, keeps=True, options=["--appendfsync", "always"]) as server:
        yield server


async def test_nothing_is_lost_and_nothing_counts_twice(valkey: Valkey):
    store = RedisStore.from_url(valkey.url, timeout_seconds=0.3)
    writer = LedgerWriter(store, "w", time.time, UTC, retention_days=7)
    failures = 0

    async def turn(numbers: range) -> None:
        nonlocal failures
        for number in numbers:
            writer.count(entry(number), 14, succeeded=True)
            try:
                await writer.write()
            except StoreUnavailable:
                failures += 1

    await turn(range(100))
    valkey.freeze()
    await turn(range(100, 103))
    valkey.thaw()
    await turn(range(103, 200))
    valkey.kill()
    await turn(range(200, 300))
    assert writer.waiting_rows > 0
    await asyncio.to_thread(valkey.start)
    await writer.write()
    rows = await store.read_usage([datetime.now(UTC).date().isoformat()])
    assert failures >= 100
    assert sum(used.succeeded for used in rows.values()) == 300
    assert sum(used.prompt for used in rows.values()) == 3000
    assert (writer.waiting_rows, writer.dropped_requests) == (0, 0)
    await store.close()
