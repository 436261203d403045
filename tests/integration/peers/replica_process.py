"""A process that shares: `python replica_process.py URL ROW COUNT` books COUNT requests and holds them."""

from __future__ import annotations

import asyncio
import random
import sys
import time

import numpy as np

from gateway_plugin.peers.news import News
from gateway_plugin.peers.peer_store import PeerStore
from gateway_plugin.peers.post import Post, new_replica_id
from gateway_plugin.peers.sharing import Sharing
from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec

PODS = tuple(PodSpec(f"pod-{n}", f"10.0.0.{n}:8000", (f"org/m-{n % 2} {{x}}",)) for n in range(4))


class Replica:
    """The sharing half of a plugin."""

    def __init__(self, url: str) -> None:
        self.id = new_replica_id()
        self.pods = PodTable(time.monotonic)
        self.pods.apply(ClusterState(PODS, frozenset()))
        self.router = Router(self.pods, np.random.default_rng())
        self.store = PeerStore.from_url(url, 10.0)
        post, news = Post(self.id, self.router), News(self.pods, self.router, lambda: False)
        self.sharing = Sharing(self.id, self.store, self.pods, post, news, random.Random())

    def sees(self) -> list[float]:
        """In flight per pod, own and others', in order of pods."""
        columns = self.pods.columns
        rows = [self.pods.row_of(pod.address) for pod in PODS]
        return [float(columns.inflight_requests[row] + columns.inflight_requests_elsewhere[row]) for row in rows]


async def main(url: str, row: int, count: int) -> None:
    replica = Replica(url)
    for _ in range(count):
        replica.pods.book(row, Work(100.0, 100.0, 100.0))
    await replica.sharing.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
