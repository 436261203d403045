"""Replicas around one store that lives in memory; virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway_plugin.peers.news import News
from gateway_plugin.peers.peer_store import Answers, Turn
from gateway_plugin.peers.post import Post
from gateway_plugin.peers.sharing import Sharing
from ratelimit import StoreUnavailable
from routing.pods.books import Lease, Work
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

PODS = (PodSpec("pod-1", "10.0.0.1:8000", ("m",)), PodSpec("pod-2", "10.0.0.2:8000", ("m", "adapter")))


def now() -> float:
    return asyncio.get_running_loop().time()


class MemoryPeers:
    """What `PeerStore` does, without a server; `away` makes it fail."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.news: list[tuple[str, bytes]] = []
        self.away = self.loses_answers = False
        self.turns: list[tuple[float, Turn]] = []

    async def exchange(self, turn: Turn) -> Answers:
        await asyncio.sleep(0.001)
        self.turns.append((now(), turn))
        if self.away:
            raise StoreUnavailable("memory", "away")
        name = turn.replica.encode()
        for model, value in turn.writes.items():
            fields = self.hashes.setdefault(model, {})
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        for replica, values in turn.outgoing.items():
            self.lists.setdefault(replica, []).extend(values)
        for model, replica, value in turn.abandoned:
            if self.hashes.get(model, {}).get(replica.encode()) == value:
                del self.hashes[model][replica.encode()]
        read = {model: dict(self.hashes.get(model, {})) for model in turn.reads}
        if turn.news:
            self.news.append((turn.replica, turn.news))
        unread = self.news[int(turn.news_after.split("-")[0]) :]
        others = [value for replica, value in unread if replica != turn.replica]
        waiting = self.lists.get(turn.replica, [])
        if turn.arrived and waiting[:1] == list(turn.arrived[:1]):
            del waiting[: len(turn.arrived)]
        if self.loses_answers:
            raise StoreUnavailable("memory", "no answer")
        return Answers(read, list(waiting), others, f"{len(self.news)}-0", 0)

    async def withdraw(self, replica: str, models: Sequence[str]) -> None:
        if self.away:
            raise StoreUnavailable("memory", "away")
        for model in models:
            self.hashes.get(model, {}).pop(replica.encode(), None)

    async def close(self) -> None:
        """Nothing to close."""


class Replica:
    """One process, as far as sharing goes."""

    def __init__(self, name: str, store: MemoryPeers) -> None:
        self.name = name.ljust(16, "-")
        self.pods = PodTable(now)
        self.pods.apply(ClusterState(PODS, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(0))
        self.alone = False
        post, news = Post(self.name, self.router), News(self.pods, self.router, lambda: self.alone)
        self.sharing = Sharing(self.name, store, self.pods, post, news, random.Random(0))
        self.task: asyncio.Task[None] | None = None

    def book(self, row: int = 0, work: Work | None = None) -> Lease:
        return self.pods.book(row, work or Work(10.0, 10.0, 10.0))

    def sees(self) -> list[float]:
        """In flight per pod, own and others'."""
        columns = self.pods.columns
        total = columns.inflight_requests + columns.inflight_requests_elsewhere
        return [float(count) for count in total[self.pods.view("m").rows]]

    def start(self) -> None:
        self.task = asyncio.create_task(self.sharing.run())

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def kill(self) -> None:
        """Ends it without a last word."""
        self.sharing._store = MemoryPeers()
        await self.stop()


@pytest.fixture
def store() -> MemoryPeers:
    return MemoryPeers()


@pytest.fixture
async def join(store: MemoryPeers) -> AsyncIterator[Callable[[str], Replica]]:
    """Starts a replica."""
    started: list[Replica] = []

    def start(name: str) -> Replica:
        replica = Replica(name, store)
        replica.start()
        started.append(replica)
        return replica

    yield start
    for replica in started:
        await replica.stop()


async def seconds_until(condition: Callable[[], bool], limit: float = 30.0) -> float:
    """Virtual seconds that pass before it holds."""
    began = now()
    while not condition():
        assert now() - began < limit, "never"
        await asyncio.sleep(0.001)
    return now() - began
