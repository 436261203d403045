"""Every setting and its default, in one place: name, unit, reason.

Values come from the environment (`GATEWAY_<NAME>`, and AIBrix's own names where they mean the same), then from a YAML
file whose keys are the field names, then from the defaults here. `gateway-plugin config` prints the result and where
each value came from.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin
from urllib.parse import quote

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

MIB = 1024 * 1024
PREFIX = "GATEWAY_"
CONFIG_FILE_VARIABLE = "GATEWAY_CONFIG"

AIBRIX_NAMES = {
    "grpc_max_message_bytes": "AIBRIX_GRPC_MAX_MESSAGE_SIZE_BYTES",
    "default_strategy": "ROUTING_ALGORITHM",
    "redis_host": "REDIS_HOST",
    "redis_port": "REDIS_PORT",
    "redis_password": "REDIS_PASSWORD",
    "auth_bearer_token": "AIBRIX_AUTH_BEARER_TOKEN",
    "pod_name": "POD_NAME",
}

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0.01, le=3600)]


class SettingsError(ValueError):
    """The configuration cannot be used; the text names key, value and what is allowed, one line per mistake."""


class Settings(BaseModel):
    """Effective configuration of one plugin process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bind_host: str = Field("0.0.0.0", description="address of all listeners; every interface, as Envoy is another pod")  # noqa: S104
    grpc_port: Port = Field(50052, description="ext_proc, access log and gRPC health; AIBrix's port")
    ops_port: Port = Field(8080, description="HTTP: /metrics, /healthz, /readyz, /debug; AIBrix's port")
    api_port: Port = Field(8090, description="HTTP: users API and /v1/models; the port of AIBrix's metadata service")
    grpc_max_message_bytes: int = Field(
        17 * MIB,
        description="largest message from Envoy: 16 MiB of body, the limit in our Envoy configuration, and headers",
        ge=MIB // 16,
        le=1024 * MIB,
    )
    drain_seconds: Seconds = Field(30.0, description="how long a stopping process waits for requests in flight")

    endpoints_file: Path | None = Field(
        None, description="pods per model, in AIBrix's standalone format; reloaded when it changes"
    )
    scrape_interval_seconds: Seconds = Field(
        1.0, description="between two reads of a pod's metrics page; shorter costs the engines CPU"
    )

    default_strategy: str = Field(
        "", description="routing strategy of requests that name none; empty: Envoy balances, as in AIBrix"
    )
    target_candidates: int = Field(
        2, description="pods offered to Envoy per request; those after the first are for retries", ge=1, le=5
    )

    external_filter_keys: str = Field(
        "*", description="pod labels that clients may select by in `external-filter`, separated by commas; * is all"
    )

    redis_url: SecretStr = Field(
        SecretStr(""),
        description="redis://[user:password@]host:port[/db]; empty, and no redis_host: limits live in this process",
    )
    redis_host: str = Field("", description="used when redis_url is empty")
    redis_port: Port = Field(6379, description="with redis_host")
    redis_password: SecretStr = Field(SecretStr(""), description="with redis_host")
    redis_timeout_seconds: Seconds = Field(0.5, description="per call; no request waits longer for the limiter")
    limiter_timeout_seconds: Seconds = Field(
        0.05, description="for an admission; a request that waits longer is decided by store_down"
    )
    store_down: Literal["local", "open", "closed"] = Field(
        "local",
        description="while Redis is away: local: last known limits, shared among replicas; open: all pass; closed: 503",
    )
    limits: Literal["on", "off"] = Field("on", description="off: nobody is limited, and the user header costs nothing")
    stream_usage: Literal["inject", "require", "estimate"] = Field(
        "inject",
        description="a limited user's stream that reports no tokens: ask the engine to, answer 400, charge estimates",
    )
    default_rpm: int = Field(100, description="requests per minute of a user whose rpm is 0; AIBrix's value", ge=1)
    default_tokens_per_request: int = Field(
        1000, description="tokens per minute of a user whose tpm is 0, times their rpm; AIBrix's value", ge=1
    )
    auth_bearer_token: SecretStr = Field(
        SecretStr(""), description="when set, every request must carry it as `Authorization: Bearer`"
    )

    api_keys: bool = Field(False, description="accept `Authorization: Bearer gw-...`, keys made through the users API")
    forward_api_keys: bool = Field(False, description="let engines see API keys; otherwise the header is removed")
    anonymous: Literal["allow", "reject", "limit"] = Field(
        "allow", description="requests without a user: served, 401, or limited per source address and replica"
    )
    anonymous_rpm: int = Field(20, description="requests per minute of one source address, with anonymous: limit", ge=1)
    admin_token: SecretStr = Field(
        SecretStr(""), description="when set, every call of the users API must carry it as `Authorization: Bearer`"
    )

    accounting: Literal["access_log", "none"] = Field(
        "access_log", description="access_log: Envoy's log reports tokens and timings; none: tokens are not counted"
    )
    pod_name: str = Field("", description="name of this replica in metrics; empty: the host name")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug: a line per request")

    @property
    def replica(self) -> str:
        """This process in metrics."""
        return self.pod_name or socket.gethostname()

    @property
    def effective_redis_url(self) -> str:
        """The URL with its password, or empty when limits live in memory."""
        if self.redis_url.get_secret_value() or not self.redis_host:
            return self.redis_url.get_secret_value()
        password = quote(self.redis_password.get_secret_value(), safe="")
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{f':{password}@' if password else ''}{host}:{self.redis_port}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the origin of each value ("default", "environment NAME", "file PATH"), and what was ignored."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


def load(config_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Reads and checks everything; raises SettingsError."""
    env = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for name, value in _read_yaml(config_file).items():
        values[name], origins[name] = value, f"file {config_file}"
    for name in Settings.model_fields:
        for variable in env_names(name):
            if env.get(variable) and not _injected_by_kubernetes(name, env[variable]):
                values[name], origins[name] = env[variable], f"environment {variable}"
                break
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, origins) for item in error.errors())) from None
    return Loaded(settings, origins, tuple(_strangers(env)))


def env_names(name: str) -> list[str]:
    """The environment variables of a setting, strongest first."""
    aibrix_name = AIBRIX_NAMES.get(name)
    return [PREFIX + name.upper(), *([aibrix_name] if aibrix_name else [])]


def _read_yaml(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"config file {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise SettingsError(f"config file {path}: must be a mapping of setting names to values")
    return {str(key): value for key, value in (content or {}).items()}


def _injected_by_kubernetes(name: str, value: str) -> bool:
    # A Service called "redis" gives every container REDIS_PORT=tcp://10.0.0.1:6379.
    return name.endswith("_port") and value.startswith("tcp://")


def _explain(item: ErrorDetails, origins: Mapping[str, str]) -> str:
    name = str(item["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name}: no such setting ({origins[name]}); `gateway-plugin config` lists them all"
    value = "<secret>" if field.annotation is SecretStr else repr(item["input"])
    return f"{name} = {value} ({origins[name]}): {item['msg']}{_allowed(field.annotation, field.metadata)}"


def _allowed(annotation: object, metadata: list[Any]) -> str:
    if get_origin(annotation) is Literal:
        return f"; allowed: {', '.join(get_args(annotation))}"
    bounds = {key: getattr(item, key) for item in metadata for key in ("ge", "le") if hasattr(item, key)}
    if not bounds:
        return ""
    return f"; allowed: {bounds.get('ge', '')} to {bounds.get('le', 'any')}"


def _strangers(env: Mapping[str, str]) -> list[str]:
    # Kubernetes also injects GATEWAY_..._PORT for a Service of that name, so a stranger is a warning, not a mistake.
    known = {variable for name in Settings.model_fields for variable in env_names(name)} | {CONFIG_FILE_VARIABLE}
    unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in known)
    return [f"environment variable {name} is not a setting and was ignored" for name in unknown]
