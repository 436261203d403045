"""What an Envoy configuration is made of; `render` turns it into files."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
Accounting = Literal["access_log", "ext_proc", "none"]


@dataclass(frozen=True, slots=True)
class Address:
    """A host (name, IPv4 or IPv6 without brackets) and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads "host:port" and "[v6]:port"."""
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        valid_host = _is_address(host) if bracketed else host and ":" not in host
        if not valid_host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is neither host:port nor [IPv6]:port")
        return cls(host, int(port))

    @property
    def is_name(self) -> bool:
        """Whether Envoy must resolve the host."""
        return not _is_address(self.host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Model:
    """A model and the "host:port" of its pods. A strategy can only choose pods given by address, not by name."""

    name: str
    endpoints: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise ValueError(f"{self.name!r} cannot be a model name: it must fit into an HTTP header")
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError(f"model {self.name!r} names an endpoint twice")
        _ = self.addresses

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The endpoints, parsed."""
        return tuple(map(Address.parse, self.endpoints))

    @property
    def cluster(self) -> str:
        """Envoy's name for this model's pods."""
        return f"model/{self.name}"


@dataclass(frozen=True, slots=True)
class EnvoyPorts:
    """Where Envoy listens (listener, admin) and where the plugin does (grpc: ext_proc and access log; users_http)."""

    listener: int = 10080
    admin: int = 9901
    grpc: int = 50052
    users_http: int = 8090


@dataclass(frozen=True, slots=True)
class Replica:
    """One more plugin process."""

    host: str
    grpc: int
    users_http: int


@dataclass(frozen=True, slots=True)
class PluginTls:
    """PEM files as Envoy sees them: who signed the plugin's certificate, and what Envoy shows, if anything."""

    ca_path: str
    server_name: str
    cert_path: str = ""
    key_path: str = ""


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """PEM files as Envoy sees them, both in one directory; read anew when a rename puts others there."""

    cert_path: str
    key_path: str

    @property
    def directory(self) -> str:
        """Which Envoy watches."""
        return str(PurePath(self.cert_path).parent)


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    """One Envoy in front of the plugin."""

    models: tuple[Model, ...] = ()
    ports: EnvoyPorts = field(default_factory=EnvoyPorts)
    listener_host: str = "0.0.0.0"  # noqa: S104 - a gateway serves other hosts
    admin_host: str = "127.0.0.1"
    """The admin interface can stop Envoy and shows its secrets: keep it on loopback."""
    plugin_host: str = "127.0.0.1"
    replicas: tuple[Replica, ...] = ()
    """More plugin processes; Envoy watches the gRPC health of each, and leaves out those that drain."""
    plugin_tls: PluginTls | None = None
    """For the gRPC port."""
    listener_tls: ListenerTls | None = None
    """Clients speak TLS; None: plaintext."""
    body_limit_bytes: int = 64 * MIB
    """Longest request body; longer ones are answered 413. The plugin's gRPC message limit must be higher."""
    header_seconds: float = 10.0
    """For the headers of a request to arrive; then 408."""
    upload_seconds: float = 120.0
    """For a whole request to arrive; then 408."""
    max_heap_bytes: int = 1024 * MIB
    """Of Envoy: near it, streams that hold most are ended, and no request is taken on."""
    max_connections: int = 20_000
    """Of clients, on all listeners together."""
    max_streams_per_connection: int = 100
    """Open HTTP/2 requests of one client connection."""
    max_requests_per_second: int = 500
    """Of one client address (or IPv6 /64), two seconds' worth at once; more are 429. Far above what a client does with
    engines, and a tenth of what a core takes; for the gateway's own API, /v1/models, a tenth, and half a second's worth
    at once. 0: no bound."""
    trusted_hops: int = 0
    """Proxies in front that add to x-forwarded-for: whoever they name is the client, of whom all bounds are. The
    plugin's setting of the same name."""
    message_timeout_seconds: float = 5.0
    """For one answer of the plugin; Envoy's default of 0.2 is less than a slow Redis may take."""
    max_message_timeout_seconds: float = 0.0
    """For an answer of which the plugin says that it takes longer: a request that wakes its model; 0: none may."""
    idle_timeout_seconds: float = 3600.0
    """Without a byte in either direction, as while an engine thinks; there is no limit to a whole response."""
    first_byte_seconds: float = 0.0
    """Without a response's headers: then the next candidate is asked, too. 0: never."""
    connect_timeout_seconds: float = 1.0
    """To a pod; then the next candidate is tried."""
    extra_paths: tuple[str, ...] = ()
    """Of pods, beyond the table of endpoints; the plugin's setting of the same name."""
    fail_open: bool = False
    """Without the plugin: let requests with a `model` header pass, unlimited, instead of answering 500."""
    accounting: Accounting = "access_log"
    """Must be the plugin's own; with ext_proc there is neither Lua nor a log stream."""
    access_log_flush_seconds: float = 1.0
    traces: Address | None = None
    """A collector of OpenTelemetry that takes OTLP over plain HTTP; None: Envoy traces nothing."""
    trace_sample_ratio: float = 0.0
    """Of requests that come without a decision of whoever is before Envoy."""
    log_path: str = ""
    """File for one JSON line per request, as /dev/stderr; empty: none."""
    lua_path: str = ""
    """The Lua script as Envoy's working directory sees it; empty: a copy inside envoy.yaml."""
    templates: Path | None = None
    """What the files are rendered from; None: the standalone configuration."""

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"a model is named twice: {sorted(names)}")
