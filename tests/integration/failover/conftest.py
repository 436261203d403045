"""The chain with pods that can be killed one by one, a log that comes at once, and short waits for sick pods."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from routing.strategies.session_affinity import token_of
from tests.integration.chain.conftest import Gateway, OpenGateway, flavour, open_gateway

__all__ = ["flavour", "open_gateway"]

PODS = 3


@dataclass
class Ward:
    """Three pods of the model "m", and what can be done to them."""

    gateway: Gateway

    def address(self, number: int) -> str:
        return f"127.0.0.1:{self.gateway.stack.ports.pods['m'][number]}"

    def towards(self, number: int) -> dict[str, str]:
        """Headers of a request whose strategy prefers that pod."""
        return {"routing-strategy": "session-affinity", "x-session-id": token_of(self.address(number))}

    async def ask(self, number: int, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """A request that prefers a pod."""
        return await self.gateway.post(body, **self.towards(number), **headers)

    async def kill(self, number: int) -> None:
        """As the kernel does it when memory runs out."""
        process = self.gateway.stack.pods[f"m-{number}"]
        os.killpg(process.pid, signal.SIGKILL)
        await process.stop()

    async def revive(self, number: int) -> None:
        await self.gateway.stack.start_pod("m", number)

    async def fault(self, number: int, **faults: Any) -> None:
        answer = await self.gateway.http.post(f"http://{self.address(number)}/debug/faults", json=faults)
        assert answer.status_code == 200, answer.text

    async def pod(self, number: int) -> dict[str, Any]:
        """The pod as the plugin sees it."""
        return next(pod for pod in await self.gateway.pods() if pod["name"] == f"m-{number}")

    async def health(self, number: int) -> str:
        health: str = (await self.pod(number))["health"]
        return health

    async def becomes(self, number: int, *states: str) -> None:
        async def reached() -> bool:
            return await self.health(number) in states

        await until(reached, f"pod {number} to be {states}")

    async def recover(self, *numbers: int) -> None:
        """Requests, until the pods are trusted again."""
        for number in numbers:

            async def well(number: int = number) -> bool:
                await self.ask(number)
                return await self.health(number) == "closed"

            await until(well, f"pod {number} to be trusted again")

    async def retries(self) -> float:
        return await self.gateway.metric("gateway_retries_total", model="m")

    async def logged(self) -> float:
        return await self.gateway.metric("gateway_access_log_entries_total", outcome="ours")

    async def log_is_quiet(self) -> None:
        """What the log still had to say has been said; a late word would make a recovered pod sick again."""
        before = -1.0
        while (now := await self.logged()) != before:
            before = now
            await asyncio.sleep(0.4)

    async def none_in_flight(self) -> None:
        async def none() -> bool:
            return await self.gateway.inflight() == 0

        await until(none, "leases to be given back")


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    """Polls; fails loudly."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened_ward(open_gateway: OpenGateway) -> AsyncIterator[Ward]:
    environment = {"GATEWAY_SCRAPE_INTERVAL_SECONDS": "0.5", "GATEWAY_SICK_RETRY_SECONDS": "1"}
    options = StackOptions(
        {"m": PODS},
        redis=False,
        speed=5,
        separate_pods=True,
        access_log_flush_seconds=0.1,
        plugin_environment=environment,
    )
    async with open_gateway(options) as gateway:
        yield Ward(gateway)


@pytest_asyncio.fixture(loop_scope="session")
async def ward(opened_ward: Ward) -> AsyncIterator[Ward]:
    """All pods well before and after."""
    yield opened_ward
    for number in range(PODS):
        if not opened_ward.gateway.stack.pods[f"m-{number}"].running:
            await opened_ward.revive(number)
        await opened_ward.fault(number)
        await opened_ward.gateway.http.post(f"http://{opened_ward.address(number)}/wake_up")
    await opened_ward.log_is_quiet()
    await opened_ward.recover(*range(PODS))
