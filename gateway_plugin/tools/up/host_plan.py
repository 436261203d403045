"""What one host runs and where: options, ports, files. Decides, starts nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.envoy_config.model import Address, EnvoyConfig, EnvoyPorts, ListenerTls, Replica

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
"""Of all but the gateway itself: nobody else has business there."""
MAX_WORKERS = 64
"""Processes of the plugin; each takes some 100 MiB."""
STATE_FILE = "up.json"


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the operator asked for."""

    directory: Path
    """For users, the list of pods, configuration and logs."""
    listen: Address = field(default_factory=lambda: Address(HOST, 10080))
    workers: int = 1
    redis_url: str = ""
    """Empty: a Valkey of its own, with its data in the directory."""
    tls: ListenerTls | None = None
    drain_seconds: float = 10.0
    """For requests in flight, when it stops."""
    config_file: Path | None = None
    """The plugin's own settings."""

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.directory / "logs"

    @property
    def endpoints_file(self) -> Path:
        """What plugin and Envoy follow."""
        return self.directory / "endpoints.yaml"

    @property
    def pods_file(self) -> Path:
        """What `gateway-plugin pods` changes."""
        return self.directory / "pods.yaml"

    @property
    def envoy_directory(self) -> Path:
        """Of Envoy's configuration."""
        return self.directory / "envoy"


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """Of one plugin process."""

    grpc: int
    ops: int
    api: int


@dataclass(frozen=True, slots=True)
class HostPorts:
    """On loopback, but for the gateway's own."""

    gateway: int
    envoy_admin: int
    redis: int
    workers: tuple[WorkerPorts, ...]

    @classmethod
    def pick(cls, options: HostOptions) -> HostPorts:
        """The usual ones where nobody has them, others elsewhere."""
        ports = Ports()
        workers = tuple(
            WorkerPorts(ports.pick(50052 + i), ports.pick(8080 + i), ports.pick(8090 + i))
            for i in range(options.workers)
        )
        return cls(options.listen.port, ports.pick(9901), ports.pick(6379), workers)


def gateway_url(options: HostOptions) -> str:
    """Where clients on this machine reach the gateway."""
    host = HOST if options.listen.host in ("0.0.0.0", "::") else options.listen.host  # noqa: S104 - compared
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if options.tls else 'http'}://{host}:{options.listen.port}"


def worker_environment(
    options: HostOptions, ports: HostPorts, worker: int, redis_url: str, environ: Mapping[str, str]
) -> dict[str, str]:
    """What a plugin process is told, beyond what the operator's environment says."""
    own = ports.workers[worker]
    told = {
        "GATEWAY_BIND_HOST": HOST,
        "GATEWAY_GRPC_PORT": str(own.grpc),
        "GATEWAY_OPS_PORT": str(own.ops),
        "GATEWAY_API_PORT": str(own.api),
        "GATEWAY_DISCOVERY": "file",
        "GATEWAY_ENDPOINTS_FILE": str(options.endpoints_file),
        "GATEWAY_REDIS_URL": redis_url,
        "POD_NAME": f"worker-{worker}",
    }
    return told | shared_environment(options, environ)


def shared_environment(options: HostOptions, environ: Mapping[str, str]) -> dict[str, str]:
    """What is the same for all of them."""
    told = {
        "GATEWAY_DRAIN_GRACE_SECONDS": "0.05",  # Envoy ends before its plugins do
        "GATEWAY_DRAIN_SECONDS": str(max(options.drain_seconds, 0.05)),
    }
    if options.config_file is not None:
        told["GATEWAY_CONFIG"] = str(options.config_file.absolute())
    elif not {"GATEWAY_DEFAULT_STRATEGY", "ROUTING_ALGORITHM", "GATEWAY_CONFIG"} & environ.keys():
        told["GATEWAY_DEFAULT_STRATEGY"] = "prefix-cache-and-load"
    return told


def envoy_config(options: HostOptions, ports: HostPorts, base: EnvoyConfig) -> EnvoyConfig:
    """`base` has what follows from the plugin's settings."""
    first, *others = ports.workers
    base_fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    return EnvoyConfig(
        **base_fields
        | {
            "ports": EnvoyPorts(ports.gateway, ports.envoy_admin, first.grpc, first.api),
            "listener_host": options.listen.host,
            "plugin_host": HOST,
            "replicas": tuple(Replica(HOST, one.grpc, one.api) for one in others),
            "listener_tls": options.tls,
        }
    )


def write_state(options: HostOptions, ports: HostPorts) -> None:
    """For `gateway-plugin pods` and for people: what runs, and on which ports."""
    state = {"pid": os.getpid(), "gateway": gateway_url(options), "ports": asdict(ports)}
    path = options.directory / STATE_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def default_directory(environ: Mapping[str, str]) -> Path:
    """Where programs keep what outlives them: systemd's word for it, else that of the XDG base directories."""
    if service := environ.get("STATE_DIRECTORY"):
        return Path(service.partition(":")[0])
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(base) / "gateway-plugin"
