"""`python -m benchmarks.replicas`: what sharing in-flight work costs each replica and the store.

Four replicas with ten models of ten pods each share one Valkey. Idle: nothing is in flight anywhere. Holding: every pod
has work that does not change. Busy: each replica books and releases 200 requests a second on random pods. Prompts: and
each of them has a prompt of 4,000 tokens, in 64 blocks that are new. Replicas run in one process on one event loop; its
CPU is divided among them, the bookings' own included.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from gateway_plugin.peers.news import News
from gateway_plugin.peers.peer_store import PeerStore
from gateway_plugin.peers.post import Post, new_replica_id
from gateway_plugin.peers.sharing import Sharing
from gateway_plugin.tools.chain.valkey import Valkey
from routing.pods.books import Lease, Work
from routing.pods.pod_table import PodTable
from routing.prefix.prefix_blocks import keys_of
from routing.router import Router
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REPLICAS, MODELS, PODS = 4, 10, 10
SECONDS = 5.0
RATE = 200


class Replica:
    """The sharing half of a plugin."""

    def __init__(self, url: str) -> None:
        replica = new_replica_id()
        pods = (PodSpec(f"{m}-{n}", f"10.0.{m}.{n}:8000", (f"model-{m}",)) for m in range(MODELS) for n in range(PODS))
        self.pods = PodTable(time.monotonic)
        self.pods.apply(ClusterState(tuple(pods), frozenset()))
        self.router = router = Router(self.pods, np.random.default_rng())
        store = PeerStore.from_url(url, 1.0)
        news = News(self.pods, router, lambda: False)
        self.sharing = Sharing(replica, store, self.pods, Post(replica, router), news, random.Random())

    def book(self, row: int) -> Lease:
        """One request of usual size."""
        return self.pods.book(row, Work(500.0, 400.0, 200.0))


async def idle(replicas: list[Replica]) -> None:
    """Nothing in flight."""
    del replicas
    await asyncio.sleep(SECONDS)


async def holding(replicas: list[Replica]) -> None:
    """Work on every pod that does not change."""
    leases = [replica.book(row) for replica in replicas for row in range(MODELS * PODS)]
    await asyncio.sleep(SECONDS)
    for lease in leases:
        lease.release()


async def prompts(replicas: list[Replica]) -> None:
    """The same, and every request has a prompt that nobody has seen."""
    await busy(replicas, tells=True)


async def busy(replicas: list[Replica], *, tells: bool = False) -> None:
    """Work that changes all the time."""
    rng, leases = random.Random(0), [[replica.book(0)] for replica in replicas]
    for _ in range(int(SECONDS * 50)):
        for replica, open_leases in zip(replicas, leases, strict=True):
            for _ in range(RATE // 50):
                row = rng.randrange(MODELS * PODS)
                open_leases.append(replica.book(row))
                if tells:
                    keys = keys_of(tuple(rng.getrandbits(60) for _ in range(64)))
                    replica.router.on_prefix(replica.pods.spec(row), keys)
                if len(open_leases) > RATE:
                    open_leases.pop(0).release()
        await asyncio.sleep(1 / 50)


async def measure(redis: Redis, replicas: list[Replica], load: Callable[[list[Replica]], Awaitable[None]]) -> list[str]:
    """Per replica and second: CPU, calls; of the store: commands, CPU, bytes."""
    await asyncio.sleep(1.0)
    before, cpu, began = await redis.info(), time.process_time(), time.monotonic()
    await load(replicas)
    seconds = time.monotonic() - began
    own = time.process_time() - cpu
    after: dict[str, Any] = await redis.info()

    def grown(name: str) -> float:
        return float(after[name] - before[name]) / seconds

    return [
        f"{own / seconds / REPLICAS:.2%}",
        f"{grown('total_commands_processed'):,.0f}",
        f"{grown('used_cpu_user') + grown('used_cpu_sys'):.2%}",
        f"{(grown('total_net_input_bytes') + grown('total_net_output_bytes')) / 1000:,.0f} kB",
    ]


async def main() -> None:
    """Prints one table."""
    table = Table("load", "CPU of a replica", "commands/s", "CPU of the store", "traffic/s")
    with tempfile.TemporaryDirectory() as directory:
        async with Valkey(Path(directory)) as valkey:
            replicas = [Replica(valkey.url) for _ in range(REPLICAS)]
            tasks = [asyncio.create_task(replica.sharing.run()) for replica in replicas]
            async with Redis(port=valkey.port) as redis:
                for load in (idle, holding, busy, prompts):
                    table.add_row(load.__name__, *await measure(redis, replicas, load))
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
    Console().print(f"{REPLICAS} replicas, {MODELS} models of {PODS} pods")
    Console().print(table)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
