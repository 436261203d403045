"""One chain on loopback, every part a process of its own: upstream, what Envoy asks (or nothing), Valkey, Envoy."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

import aiohttp
import yaml

from benchmarks.load import USERS
from benchmarks.procfs import cpu_seconds, tree_cpu_seconds
from benchmarks.upstream import HOST, Upstream, until_it_listens
from benchmarks.valkey import Valkey
from benchmarks.variant import adapted, filled
from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process, script
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, EnvoyPorts, Model
from gateway_plugin.tools.envoy_config.process import envoy_binary
from gateway_plugin.tools.envoy_config.render import write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.variant import Variant

ENVOY_WORKERS = 2
LOG_SECONDS = 1.3


class Rig:
    """A running Variant; an async context manager."""

    def __init__(self, variant: Variant, directory: Path, upstream: Upstream | None = None) -> None:
        ports = Ports(usual=False)
        self.variant = variant
        self.gateway_port, self._admin_port = ports.pick(0), ports.pick(0)
        self._grpc_port = variant.port or ports.pick(0)
        self._ops_port, self._api_port = ports.pick(0), ports.pick(0)
        self._directory = directory
        self._upstream = upstream
        self._stack = contextlib.AsyncExitStack()
        self.ops_url = f"http://{HOST}:{self._ops_port}"
        self.endpoints_file = directory / "endpoints.yaml"
        self.valkey = Valkey(directory / "valkey", keeps=variant.keeps_store)
        self.pod_ports: list[int] = []
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
        upstream = self._upstream
        if upstream is None:
            variant = self.variant
            upstream = Upstream(self._directory, variant.pods, variant.metrics_page)
            await self._stack.enter_async_context(upstream)
        self.pod_ports = upstream.ports
        if self.variant.limits == "valkey":
            await self._stack.enter_async_context(self.valkey)
        if self.variant.processor != "none":
            await self._start_processor(upstream.urls[0])
        if self.variant.limits != "none":
            await self._create_users()
        await self._start_envoy()

    async def _start_processor(self, upstream_url: str) -> None:
        variant = self.variant
        pods = ",".join(f"{HOST}:{port}" for port in self.pod_ports)
        places = {"grpc": self._grpc_port, "ops": self._ops_port, "upstream": upstream_url, "pods": pods}
        argv = filled(variant.command, places) or [script("gateway-plugin"), "serve"]
        own = {"UPSTREAM": upstream_url, "PODS": pods, "PORT": str(self._grpc_port), "OPS_PORT": str(self._ops_port)}
        if variant.limits == "valkey":
            own |= {"REDIS_HOST": HOST, "REDIS_PORT": str(self.valkey.port)}
        environment = self._environment() if variant.processor == "plugin" else own
        self.processor = await self._run("processor", argv, environment | dict(variant.environment))
        if variant.ready_path:
            await self.processor.wait_ready(f"{self.ops_url}{variant.ready_path}")
        else:
            await until_it_listens(self.processor, self._grpc_port)

    async def _run(self, name: str, argv: list[str], environment: Mapping[str, str]) -> Process:
        process = await Process.start(name, argv, self._directory, environment)
        self._stack.push_async_callback(process.stop)
        return process

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU time so far of Envoy, and of the processor with its children."""
        return cpu_seconds(self.envoy.pid), tree_cpu_seconds(self.processor.pid) if self.processor else 0.0

    async def _start_envoy(self) -> None:
        model = Model("m", tuple(f"{HOST}:{port}" for port in self.pod_ports))
        ports = EnvoyPorts(self.gateway_port, self._admin_port, self._grpc_port, self._api_port)
        accounting = self.variant.accounting if self.variant.processor == "plugin" else "none"
        config = EnvoyConfig(
            models=(model,), ports=ports, listener_host=HOST, accounting=accounting, max_requests_per_second=1_000_000
        )
        write(config, self._directory)
        path = self._directory / "envoy.yaml"
        bootstrap = adapted(yaml.safe_load(path.read_text()), self.variant)
        path.write_text(yaml.safe_dump(bootstrap))
        arguments = ["-c", str(path), "--concurrency", str(ENVOY_WORKERS), "--disable-hot-restart", "-l", "warn"]
        self.envoy = await self._run("envoy", [envoy_binary(), *arguments], {})
        await self.envoy.wait_ready(f"http://{HOST}:{self._admin_port}/ready")

    def _environment(self) -> dict[str, str]:
        self.offer(self.pod_ports)
        environment = {
            "GATEWAY_BIND_HOST": HOST,
            "GATEWAY_GRPC_PORT": str(self._grpc_port),
            "GATEWAY_OPS_PORT": str(self._ops_port),
            "GATEWAY_API_PORT": str(self._api_port),
            "GATEWAY_ENDPOINTS_FILE": str(self.endpoints_file),
            "GATEWAY_DEFAULT_STRATEGY": "prefix-cache-and-load",
            "GATEWAY_ACCOUNTING": self.variant.accounting,
            "GATEWAY_DRAIN_GRACE_SECONDS": "0.05",
            "GATEWAY_LIMITER_TIMEOUT_SECONDS": "5",
            "GATEWAY_REDIS_TIMEOUT_SECONDS": "5",
        }
        if self.variant.limits == "valkey":
            environment["GATEWAY_REDIS_URL"] = self.valkey.url
        return environment

    def offer(self, ports: Sequence[int]) -> None:
        """These pods, and no others, are what the plugin may choose from now on."""
        endpoints = [{"address": f"{HOST}:{port}", "name": f"pod-{port}"} for port in ports]
        new = self.endpoints_file.with_suffix(".new")
        new.write_text(yaml.safe_dump({"models": [{"name": "m", "engine": "vllm", "endpoints": endpoints}]}))
        new.replace(self.endpoints_file)

    async def _create_users(self) -> None:
        if self.variant.processor == "other":
            self.valkey.create_users()
            return
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
        url = f"http://{HOST}:{self._api_port}/v1/users/user-{number}/usage"
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
        url = f"http://{HOST}:{self._admin_port}/stats"
        async with aiohttp.ClientSession() as session, session.get(url, params={"filter": pattern}) as answer:
            lines = [line.rsplit(": ", 1) for line in (await answer.text()).splitlines()]
        return {name: int(value) for name, value in lines if value.isdecimal()}
