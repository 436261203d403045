"""Discovery that follows a fake API server through the real client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway_plugin.pods.kubernetes.discovery import KubernetesDiscovery, Options
from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
from routing.pods.pod_table import PodTable
from tests.fake_kubernetes import FakeServer, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from routing.spec import ClusterState

# Generous: the machine may be busy.
PATIENCE_SECONDS = 20.0


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that other tasks bring about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions tell nobody
            await asyncio.sleep(0.005)


class Following:
    """Discovery, what it has told, and the pod table that heard it."""

    def __init__(self, server: FakeServer, directory: Path, **options: Any) -> None:
        self.server = server
        self.table = PodTable(lambda: 0.0)
        self.states: list[ClusterState] = []
        kubeconfig = server.kubeconfig(directory)
        self.discovery = KubernetesDiscovery(Options(LabelKeys(), kubeconfig=kubeconfig, **options), self._hear)

    def _hear(self, state: ClusterState) -> None:
        self.states.append(state)
        self.table.apply(state)

    def addresses(self, *, ready_only: bool = False) -> set[str]:
        """Of the pods in the table."""
        return {spec.address for _, spec in self.table.items() if spec.ready or not ready_only}

    def counts(self, resource: str = "pods") -> Any:
        """What the first reflector of a kind has counted."""
        return next(counts for counts in self.discovery._counts() if counts.resource == resource)

    async def watching(self) -> None:
        """Returns when every reflector has an open watch."""
        reflectors = len(self.discovery._reflectors)
        await until(lambda: len(self.server.watches()) >= reflectors)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Following]:
        """Runs, from the first state on."""
        self.table.apply(await self.discovery.load())
        task = asyncio.create_task(self.discovery.run())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.discovery.first_state()
            yield self
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """An empty cluster."""
    async with running() as opened:
        yield opened
