"""Valkey, simulated pods, the plugin and Envoy, started in order and stopped together.

client -> Envoy :10080 -> ext_proc :50052 (plugin) -> Valkey :6379
                `-> simulated pods :8000...      Envoy's access log -> plugin
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import yaml

from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process, script
from gateway_plugin.tools.chain.valkey import Valkey
from gateway_plugin.tools.envoy_config.model import Accounting, EnvoyConfig, EnvoyPorts, Model, PluginTls, Replica
from gateway_plugin.tools.envoy_config.process import EnvoyProcess, start_envoy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to run. `models` maps a model to its number of pods, which share a process unless each is to die alone."""

    models: Mapping[str, int]
    default_strategy: str = "least-request"
    redis: bool = True
    keeps_store: bool = True
    """Whether Valkey finds its data again when it is started anew."""
    usual_ports: bool = False
    speed: float = 1.0
    separate_pods: bool = False
    fail_open: bool = False
    accounting: Accounting = "access_log"
    access_log_flush_seconds: float = 1.0
    replicas: int = 1
    plugin_tls: PluginTls | None = None
    envoy_templates: Path | None = None
    envoy: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of EnvoyConfig."""
    plugin_environment: Mapping[str, str] = field(default_factory=dict)
    playground: bool = False
    """The live page may send chats."""


@dataclass(frozen=True, slots=True)
class StackPorts:
    """Every port of the stack, on loopback."""

    gateway: int
    envoy_admin: int
    grpc: int
    ops: int
    api: int
    redis: int
    pods: Mapping[str, tuple[int, ...]]
    others: tuple[tuple[int, int, int], ...] = ()
    """grpc, ops and api of replicas after the first."""

    @classmethod
    def pick(cls, options: StackOptions) -> StackPorts:
        """The usual ports where they are wanted and free, others elsewhere."""
        ports = Ports(usual=options.usual_ports)
        gateway, envoy_admin, grpc = ports.pick(10080), ports.pick(9901), ports.pick(50052)
        ops, api, redis = ports.pick(8080), ports.pick(8090), ports.pick(6379)
        pods: dict[str, tuple[int, ...]] = {}
        usual = 8000
        for model, count in options.models.items():
            pods[model] = tuple(ports.pick(usual + i) for i in range(count))
            usual += count
        others = tuple(
            (ports.pick(50052 + i), ports.pick(8080 + i), ports.pick(8090 + i)) for i in range(1, options.replicas)
        )
        return cls(gateway, envoy_admin, grpc, ops, api, redis, pods, others)

    def plugin(self, replica: int) -> tuple[int, int, int]:
        """grpc, ops and api of a replica, counted from 0."""
        return (self.grpc, self.ops, self.api) if replica == 0 else self.others[replica - 1]


class Stack:
    """The running chain; an async context manager."""

    def __init__(self, options: StackOptions, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.ports = StackPorts.pick(options)
        self.gateway_url = f"http://{HOST}:{self.ports.gateway}"
        self.api_url = f"http://{HOST}:{self.ports.api}"
        self.ops_url = f"http://{HOST}:{self.ports.ops}"
        self.redis_url = f"redis://{HOST}:{self.ports.redis}" if options.redis else ""
        self.endpoints_file = directory / "endpoints.yaml"
        self.plugins: dict[int, Process] = {}
        self.pods: dict[str, Process] = {}
        """By model, or by pod where each has a process of its own."""
        self._envoy: EnvoyProcess | None = None
        self.valkey = Valkey(directory / "valkey", port=self.ports.redis, keeps=options.keeps_store)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Everything, in order of dependence; raises ProcessError or EnvoyError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.directory / "valkey", ignore_errors=True)
        self.endpoints_file.write_text(yaml.safe_dump(self._endpoints(), sort_keys=False))
        await asyncio.gather(self._start_pods(), self.start_redis())
        await asyncio.gather(*(self.start_plugin(replica) for replica in range(self.options.replicas)))
        self._envoy = await start_envoy(self.envoy_config(), self.directory, adapt=self.adapted)

    async def stop(self) -> None:
        """Everything, in reverse order; also what a failed start left."""
        if self._envoy is not None:
            await self._envoy.stop()
        await asyncio.gather(*(self.stop_plugin(replica) for replica in list(self.plugins)))
        await asyncio.gather(*(process.stop() for process in self.pods.values()))
        await self.stop_redis()

    @property
    def plugin(self) -> Process:
        """The first of the replicas."""
        return self.plugins[0]

    @property
    def envoy_pid(self) -> int:
        """Process id of Envoy."""
        assert self._envoy is not None
        return self._envoy.pid

    def ops_url_of(self, replica: int) -> str:
        """Where one of the replicas is asked how it is."""
        return f"http://{HOST}:{self.ports.plugin(replica)[1]}"

    async def start_plugin(self, replica: int = 0) -> None:
        """One of the plugin's replicas, until it says it is ready."""
        name = f"plugin-{replica}" if replica else "plugin"
        plugin = await Process.start(name, self._plugin_argv(), self.directory, self._plugin_environment(replica))
        self.plugins[replica] = plugin
        await self._until_ready(replica)

    async def stop_plugin(self, replica: int = 0, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends one of the replicas, if it runs."""
        if replica in self.plugins:
            await self.plugins[replica].stop(number)

    async def start_redis(self) -> None:
        """Valkey, unless limits live in memory."""
        if self.options.redis:
            await asyncio.to_thread(self.valkey.start)

    async def stop_redis(self) -> None:
        """Ends Valkey, if it runs; its data stays until the stack starts anew."""
        await asyncio.to_thread(self.valkey.stop)

    def envoy_config(self) -> EnvoyConfig:
        """Envoy in front of this stack."""
        ports = self.ports
        models = tuple(
            Model(name, tuple(f"{HOST}:{port}" for port in pod_ports)) for name, pod_ports in ports.pods.items()
        )
        return EnvoyConfig(
            models=models,
            ports=EnvoyPorts(ports.gateway, ports.envoy_admin, ports.grpc, ports.api),
            listener_host=HOST,
            fail_open=self.options.fail_open,
            access_log_flush_seconds=self.options.access_log_flush_seconds,
            accounting=self.options.accounting,
            replicas=tuple(Replica(HOST, grpc, api) for grpc, _, api in ports.others),
            plugin_tls=self.options.plugin_tls,
            templates=self.options.envoy_templates,
            # All load of a demo comes from one address.
            **{"max_requests_per_second": 1_000_000, **self.options.envoy},
        )

    def adapted(self, bootstrap: dict[str, Any]) -> dict[str, Any]:
        """Envoy's whole configuration, for those who run it otherwise than the product does."""
        return bootstrap

    async def start_pod(self, model: str, number: int) -> None:
        """One pod in a process of its own, until it is ready."""
        await self._start_process(f"{model}-{number}", model, number, [self.ports.pods[model][number]])

    async def _start_pods(self) -> None:
        if self.options.separate_pods:
            pods = ((model, number) for model, count in self.options.models.items() for number in range(count))
            await asyncio.gather(*(self.start_pod(model, number) for model, number in pods))
        else:
            models = self.ports.pods.items()
            await asyncio.gather(*(self._start_process(model, model, 0, ports) for model, ports in models))

    async def _start_process(self, name: str, model: str, number: int, ports: Sequence[int]) -> None:
        argv = [script("gateway-plugin"), "simulate", model, "--speed", str(self.options.speed)]
        argv += ["--number", str(number)]
        for port in ports:
            argv += ["--port", str(port)]
        process = await Process.start(f"pods-{name}".replace("/", "-"), argv, self.directory, {})
        self.pods[name] = process
        await asyncio.gather(*(process.wait_ready(f"http://{HOST}:{port}/health") for port in ports))

    def _endpoints(self) -> dict[str, object]:
        return {
            "models": [
                {
                    "name": model,
                    "engine": "vllm",
                    "endpoints": [
                        {"address": f"{HOST}:{port}", "name": f"{model}-{number}"} for number, port in enumerate(ports)
                    ],
                }
                for model, ports in self.ports.pods.items()
            ]
        }

    def _plugin_argv(self) -> list[str]:
        return [script("gateway-plugin"), "serve"]

    async def _until_ready(self, replica: int) -> None:
        await self.plugins[replica].wait_ready(f"{self.ops_url_of(replica)}/readyz")

    def _plugin_environment(self, replica: int) -> dict[str, str]:
        grpc, ops, api = self.ports.plugin(replica)
        environment = {
            "GATEWAY_BIND_HOST": HOST,
            "GATEWAY_GRPC_PORT": str(grpc),
            "GATEWAY_OPS_PORT": str(ops),
            "GATEWAY_API_PORT": str(api),
            "GATEWAY_ENDPOINTS_FILE": str(self.endpoints_file),
            "GATEWAY_DEFAULT_STRATEGY": self.options.default_strategy,
            "GATEWAY_REDIS_URL": self.redis_url,
            "GATEWAY_ACCOUNTING": self.options.accounting,
            "GATEWAY_DRAIN_GRACE_SECONDS": "0.05",  # there is no other replica to find
        }
        if self.options.playground:
            environment["GATEWAY_PLAYGROUND_GATEWAY"] = self.gateway_url
            environment["GATEWAY_CORS_ORIGINS"] = f"http://{HOST}:{ops},http://localhost:{ops}"
        return environment | dict(self.options.plugin_environment)
