"""Where attacks happen: Envoy, the plugin and Valkey, real, in front of engines that write down what reaches them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import redis.asyncio

from gateway_plugin.tools.chain.stack import HOST, Stack, StackOptions
from ratelimit import LimitDefaults, RedisStore, StoreUnavailable, UserRecord
from tests.attack.engine import Engines
from tests.envoy_flavours import templates_of

MODELS = {"m": 2, "secret": 1}
"""Insiders may ask for `m` alone; a request that reaches a pod of `secret` was sent there by a trick."""
KEYS_ONLY = {"GATEWAY_IDENTITY_PROOFS": "api-key"}
TRUSTED_HEADER = {"GATEWAY_API_KEYS": "true", "GATEWAY_ANONYMOUS": "limit", "GATEWAY_ANONYMOUS_RPM": "5"}
IDENTITIES = {"keys": KEYS_ONLY, "header": TRUSTED_HEADER}
_ENVIRONMENT = {
    "GATEWAY_MODELS_POLL_SECONDS": "0",
    "GATEWAY_LIMITER_TIMEOUT_SECONDS": "1",
    "GATEWAY_REDIS_TIMEOUT_SECONDS": "2",
    "GATEWAY_DEFAULT_STRATEGY": "least-request",
}


@dataclass(frozen=True)
class Account:
    """A user, and a key of theirs."""

    name: str
    key: str

    @property
    def bearer(self) -> tuple[str, str]:
        """The header that proves who they are."""
        return ("authorization", f"Bearer {self.key}")


@dataclass(frozen=True)
class Used:
    """What the users API says was counted in the last minute."""

    requests: int
    tokens: int


class _Chain(Stack):
    """A stack whose pods live in this process."""

    def __init__(self, options: StackOptions, directory: Path, engines: Engines) -> None:
        super().__init__(options, directory)
        self._engines = engines
        self.metrics_port = 0

    async def start(self) -> None:
        self.metrics_port = await self._engines.start_metrics()
        await super().start()

    async def _start_pods(self) -> None:
        for model, ports in self.ports.pods.items():
            for number, port in enumerate(ports):
                await self._engines.start(model, f"{model}-{number}", port)

    def _endpoints(self) -> dict[str, object]:
        def pods(model: str) -> list[dict[str, object]]:
            ports = enumerate(self.ports.pods[model])
            return [
                {"address": f"{HOST}:{port}", "name": f"{model}-{number}", "metrics_port": self.metrics_port}
                for number, port in ports
            ]

        return {"models": [{"name": model, "engine": "vllm", "endpoints": pods(model)} for model in self.ports.pods]}


class Arena:
    """One running chain, and the eyes of the judge."""

    def __init__(self, flavour: str, chain: _Chain, engines: Engines, http: httpx.AsyncClient) -> None:
        self.flavour = flavour
        self.chain = chain
        self.engines = engines
        self.http = http
        self._users = RedisStore.from_url(chain.redis_url, LimitDefaults(), timeout_seconds=5)
        self._names = itertools.count(1)
        self._pid = chain.plugin.pid
        self._log_bytes = 0

    @property
    def port(self) -> int:
        """Of Envoy."""
        return self.chain.ports.gateway

    def pod_address(self, model: str) -> str:
        """The first pod of a model."""
        return f"{HOST}:{self.chain.ports.pods[model][0]}"

    async def account(self, **fields: Any) -> Account:
        """A new user with a key, who may use model m; written as the users API writes, without its round trips."""
        name = f"insider-{next(self._names)}"
        record = UserRecord(name=name, rpm=1000, tpm=50_000_000, models=("m",))
        with contextlib.suppress(StoreUnavailable):  # after an outage, on a connection from before
            await self._users.names(1)
        assert await self._users.create(msgspec.structs.replace(record, **fields))
        return Account(name, (await self._users.create_key(name, "attack")).secret)

    async def used(self, user: str) -> Used:
        """What was counted for a user."""
        answer = await self.http.get(f"{self.chain.api_url}/v1/users/{user}/usage")
        assert answer.status_code == 200, answer.text
        usage = answer.json()
        return Used(usage["requests"]["used"], usage["tokens"]["used"])

    async def settled(self, user: str, requests: int, tokens: int, patience_seconds: float = 2.0) -> Used:
        """The same once `tokens` were charged, or after a while. Requests are counted first: without, nobody waits."""
        used = await self.used(user)
        deadline = time.monotonic() + patience_seconds
        while used.requests >= requests and used.tokens < tokens and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            used = await self.used(user)
        return used

    def redis(self) -> redis.asyncio.Redis:
        """A stranger's connection to the store."""
        return redis.asyncio.Redis.from_url(self.chain.redis_url)

    async def inflight(self) -> int:
        """Requests that are booked on pods, as the plugin believes."""
        pods = (await self.http.get(f"{self.chain.ops_url}/debug/pods")).json()
        return sum(pod["inflight_requests"] for pod in pods)

    async def close(self) -> None:
        """Ends the connection to the store."""
        await self._users.close()

    async def damage(self) -> list[str]:
        """What is wrong with the service after attacks: processes, leases, tracebacks."""
        found = []
        if not self.chain.plugin.running or self.chain.plugin.pid != self._pid:
            return ["the plugin is dead"]
        found += [f"nobody's request reached a pod: {one}" for one in self.engines.unmarked()]
        self.engines.seen.clear()
        if not await eventually(lambda: _is(self.inflight, 0)):
            found.append(f"leases not given back: {await self.inflight()}")
        log = self.chain.plugin.log.read_bytes()
        news, self._log_bytes = log[self._log_bytes :], len(log)
        if b"Traceback" in news:
            last = news[news.index(b"Traceback") :].decode(errors="replace").splitlines()
            found.append("a traceback in the plugin's log: " + next((x for x in last if "Error" in x), last[-1])[:200])
        return found


async def _is(ask: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await ask() == wanted


async def eventually(holds: Callable[[], Awaitable[bool]], patience_seconds: float = 5.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + patience_seconds
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


@asynccontextmanager
async def open_arena(flavour: str, identity: str, directory: Path) -> AsyncIterator[Arena]:
    """A chain for attacks, in one of the two configurations of Envoy and one of the two of identity."""
    options = StackOptions(
        MODELS,
        access_log_flush_seconds=0.05,
        envoy_templates=templates_of(flavour),
        plugin_environment=_ENVIRONMENT | IDENTITIES[identity],
    )
    engines = Engines()
    try:
        async with _Chain(options, directory, engines) as chain, httpx.AsyncClient(timeout=20) as http:
            arena = Arena(flavour, chain, engines, http)
            try:
                yield arena
            finally:
                await arena.close()
    finally:
        await engines.stop()
