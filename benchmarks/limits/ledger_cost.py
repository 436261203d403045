"""What the usage ledger costs a finished exchange: CPU time of plugin and server, in pairs of rounds that alternate.

    python -m benchmarks.limits.ledger_cost [rounds]

Compared is an accountant that settles batches of 64 entries of 20 users on a Valkey with one that counts them for the
ledger, too, and writes it after every 1,000 entries, as a replica with that many requests a second does. The median of
the rounds' ratios is told, which other load of the machine moves less than times.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gateway_plugin.accounting.accountant import Accountant
from gateway_plugin.accounting.ledger_writer import LedgerWriter
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.tools.chain.valkey import Valkey
from protos.access_log import FinishedExchange
from ratelimit import RedisStore, UserRecord
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from gateway_plugin.accounting.limiting import Limiting

BATCH, ENTRIES, USERS = 64, 4000, 20
WRITE_EVERY = 1000
"""Entries: a second's."""
_TICKS = os.sysconf("SC_CLK_TCK")
_POD = "10.0.0.1:8000"


def main() -> None:
    """Prints one line a round, and the median."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    asyncio.run(_compare(rounds))


async def _compare(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Valkey(Path(folder)) as valkey:
            store = RedisStore.from_url(valkey.url, timeout_seconds=30)
            for user in range(USERS):
                await store.create(UserRecord(f"user-{user}", rpm=10**9, tpm=10**12))
            writer = LedgerWriter(store, "benchmark", time.time, UTC, retention_days=92)
            kinds = {"off": (_accountant(store, None), None), "on": (_accountant(store, writer), writer)}
            for name, kind in kinds.items():
                await _cost(*kind, valkey.pid, name)
            ratios = []
            for number in range(rounds):
                names = ("off", "on") if number % 2 else ("on", "off")
                costs = {name: await _cost(*kinds[name], valkey.pid, f"{name}-{number}") for name in names}
                ratios.append(costs["on"] / costs["off"])
                print(f"off {costs['off']:.1f} us  on {costs['on']:.1f} us  {ratios[-1]:.3f}")
            print(f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
            await store.close()


def _accountant(store: RedisStore, writer: LedgerWriter | None) -> Accountant:
    pods = PodTable(time.monotonic)
    pods.apply(ClusterState((PodSpec("pod", _POD, ("m",)),), frozenset()))
    router = Router(pods, np.random.default_rng(0))
    # Of its limiter an accountant asks for settlements only.
    return Accountant(cast("Limiting", store), pods, router, Metrics(), ledger=writer)


def _entries(name: str, start: int) -> list[FinishedExchange]:
    tokens = {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1020, "cached_tokens": 512}
    return [
        FinishedExchange(
            f"{name}-{at}", f"user-{at % USERS}", "m", 200, _POD, 2.0, 0.2, 1, client_aborted=False, tokens=tokens
        )
        for at in range(start, start + BATCH)
    ]


async def _cost(accountant: Accountant, writer: LedgerWriter | None, server: int, name: str) -> float:
    """CPU microseconds of an entry, server and plugin together."""
    before = time.process_time() + _server_seconds(server)
    written_at = 0
    for start in range(0, ENTRIES, BATCH):
        await accountant.finish(_entries(name, start))
        if writer is not None and start - written_at >= WRITE_EVERY:
            written_at = start
            await writer.write()
    if writer is not None:
        await writer.write()
    return (time.process_time() + _server_seconds(server) - before) / ENTRIES * 1e6


def _server_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
