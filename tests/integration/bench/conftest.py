"""One simulated pod over real HTTP, a hundred times faster than a real one, and a client that measures it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.generator import Generator
from gateway_plugin.tools.bench.load_client import Client
from gateway_plugin.tools.bench.prompts import Texts
from gateway_plugin.tools.bench.tally import Tally
from gateway_plugin.tools.bench.target import CHAT, BenchTarget
from simulator import EngineConfig, RunningPod, SimulatedPod, start


@dataclass
class Bench:
    """A pod and how it is measured; tests change the target."""

    pod: RunningPod
    session: aiohttp.ClientSession
    target: BenchTarget

    def change(self, **fields: Any) -> None:
        self.target = replace(self.target, **fields)

    def generator(self) -> Generator:
        client = Client(self.target, time.perf_counter)
        return Generator(client, Texts("salt", 64), Tally(""), time.perf_counter)

    async def run(self, asks: Iterable[Ask]) -> Tally:
        generator = self.generator()
        await generator.open_loop(asks)
        return generator.tally

    async def break_pod(self, **faults: Any) -> None:
        async with self.session.post(f"{self.target.base_url}/debug/faults", json=faults) as response:
            assert response.status == 200, await response.text()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    pod = await start(SimulatedPod(name="pod-1", model="m", speed=100), EngineConfig(), "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        target = BenchTarget(f"http://127.0.0.1:{pod.port}", CHAT, "m", timeout_seconds=20.0)
        yield Bench(pod, session, target)
    await pod.stop()
