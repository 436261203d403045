"""The chain of a Variant: its engines are `upstream`'s, what Envoy asks may be another program than the plugin."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import redis
import yaml

from benchmarks.load import USERS
from benchmarks.procfs import cpu_seconds, tree_cpu_seconds
from benchmarks.upstream import HOST, Upstream, until_it_listens
from benchmarks.variant import adapted, filled
from gateway_plugin.tools.chain.stack import Stack, StackOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.variant import Variant
    from gateway_plugin.tools.chain.processes import Process

LOG_SECONDS = 1.3
PATIENT = {"GATEWAY_LIMITER_TIMEOUT_SECONDS": "5", "GATEWAY_REDIS_TIMEOUT_SECONDS": "5"}


class Rig(Stack):
    """A running Variant; an async context manager. An `upstream` that is given is its owner's to start and to stop."""

    def __init__(self, variant: Variant, directory: Path, upstream: Upstream | None = None) -> None:
        super().__init__(options_of(variant), directory)
        self.variant = variant
        self._own_upstream = upstream is None
        self._upstream = upstream or Upstream(directory, variant.pods, variant.metrics_page)
        pods = {"m": tuple(self._upstream.ports)}
        self.ports = replace(self.ports, pods=pods, grpc=variant.port or self.ports.grpc)

    async def start(self) -> None:
        """As a stack, with users."""
        await super().start()
        if self.variant.limits != "none" and self.variant.processor == "plugin":
            await self._create_users()

    async def stop(self) -> None:
        """As a stack."""
        await super().stop()
        if self._own_upstream:
            await self._upstream.stop()

    async def _start_pods(self) -> None:
        if self._own_upstream:
            await self._upstream.__aenter__()

    async def start_redis(self) -> None:
        """As a stack; other processors find their users in it when they start."""
        await super().start_redis()
        if self.options.redis and self.variant.processor == "other":
            create_users_as_aibrix(self.valkey.port)

    def _plugin_argv(self) -> list[str]:
        ports, pods = self.ports, ",".join(self._pod_addresses())
        places = {"grpc": ports.grpc, "ops": ports.ops, "upstream": self._upstream.urls[0], "pods": pods}
        return filled(self.variant.command, places) or super()._plugin_argv()

    def _plugin_environment(self, replica: int) -> dict[str, str]:
        if self.variant.processor == "plugin":
            return super()._plugin_environment(replica)
        own = {"UPSTREAM": self._upstream.urls[0], "PODS": ",".join(self._pod_addresses())}
        own |= {"PORT": str(self.ports.grpc), "OPS_PORT": str(self.ports.ops)}
        if self.variant.limits == "valkey":
            own |= {"REDIS_HOST": HOST, "REDIS_PORT": str(self.valkey.port)}
        return own | dict(self.variant.environment)

    async def _until_ready(self, replica: int) -> None:
        if self.variant.ready_path:
            await self.plugins[replica].wait_ready(f"{self.ops_url}{self.variant.ready_path}")
        else:
            await until_it_listens(self.plugins[replica], self.ports.grpc)

    def adapted(self, bootstrap: dict[str, Any]) -> dict[str, Any]:
        """As the variant wants it."""
        return adapted(bootstrap, self.variant)

    def _pod_addresses(self) -> list[str]:
        return [f"{HOST}:{port}" for port in self.pod_ports]

    def _endpoints(self) -> dict[str, object]:
        return endpoints_of(self.pod_ports)

    @property
    def gateway_port(self) -> int:
        """Where clients ask."""
        return self.ports.gateway

    @property
    def pod_ports(self) -> Sequence[int]:
        """Of the only model, "m"."""
        return self.ports.pods["m"]

    @property
    def processor(self) -> Process | None:
        """What Envoy asks, if it asks anything."""
        return self.plugins.get(0)

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU time so far of Envoy, and of the processor with its children."""
        return cpu_seconds(self.envoy_pid), tree_cpu_seconds(self.processor.pid) if self.processor else 0.0

    def offer(self, ports: Sequence[int]) -> None:
        """These pods, and no others, are what the plugin may choose from now on."""
        new = self.endpoints_file.with_suffix(".new")
        new.write_text(yaml.safe_dump(endpoints_of(ports)))
        new.replace(self.endpoints_file)

    async def _create_users(self) -> None:
        async with aiohttp.ClientSession() as session:
            for number in range(USERS):
                user = {
                    "name": f"user-{number}",
                    "rpm": 10**9,
                    "tpm": 10**12,
                    "max_parallel": self.variant.max_parallel,
                }
                async with session.post(f"http://{HOST}:{self.ports.api}/v1/users", json=user) as answer:
                    assert answer.status == 201, await answer.text()

    @property
    def lag_seconds(self) -> float:
        """How much later than its last response the chain may still work for it: Envoy's log comes once a second."""
        is_logged = self.variant.processor == "plugin" and self.variant.accounting == "access_log"
        return LOG_SECONDS if is_logged else 0.1

    @property
    def with_user(self) -> bool:
        """Whether its requests name a user."""
        return self.variant.limits != "none"

    async def user(self, number: int) -> dict[str, dict[str, int]]:
        """What a user has used."""
        url = f"http://{HOST}:{self.ports.api}/v1/users/user-{number}/usage"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            used: dict[str, dict[str, int]] = await answer.json()
            return used

    async def metric(self, name: str) -> float:
        """The sum of all samples of one of the plugin's metrics; 0 when there is none."""
        return (await self.metrics(name))[0]

    async def metrics(self, *names: str) -> list[float]:
        """Of several, read at one moment."""
        lines = str(await self.operations("/metrics")).splitlines()
        return [
            sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
            for name in names
        ]

    async def operations(self, path: str) -> object:
        """A page of the plugin's operations port: JSON as values, other text as it is."""
        async with aiohttp.ClientSession() as session, session.get(self.ops_url + path) as answer:
            return await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def envoy_stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match."""
        url = f"http://{HOST}:{self.ports.envoy_admin}/stats"
        async with aiohttp.ClientSession() as session, session.get(url, params={"filter": pattern}) as answer:
            lines = [line.rsplit(": ", 1) for line in (await answer.text()).splitlines()]
        return {name: int(value) for name, value in lines if value.isdecimal()}


def options_of(variant: Variant) -> StackOptions:
    """Everything on free ports; without a processor no replica of the plugin."""
    return StackOptions(
        {"m": variant.pods},
        default_strategy="prefix-cache-and-load",
        redis=variant.limits == "valkey",
        keeps_store=variant.keeps_store,
        accounting=variant.accounting if variant.processor == "plugin" else "none",
        replicas=0 if variant.processor == "none" else 1,
        plugin_environment=PATIENT | dict(variant.environment),
    )


def create_users_as_aibrix(port: int) -> None:
    """With limits that nobody reaches, where AIBrix keeps them."""
    with redis.Redis(port=port) as client:
        for number in range(USERS):
            user = {"name": f"user-{number}", "rpm": 10**9, "tpm": 10**12}
            client.set(f"aibrix-users/{user['name']}", json.dumps(user))


def endpoints_of(ports: Sequence[int]) -> dict[str, object]:
    """The file of endpoints; a pod keeps its name whoever stands beside it."""
    endpoints = [{"address": f"{HOST}:{port}", "name": f"pod-{port}"} for port in ports]
    return {"models": [{"name": "m", "engine": "vllm", "endpoints": endpoints}]}
