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
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gateway_plugin.endpoints.extra_paths import parse_extra_paths
from gateway_plugin.endpoints.web_pages import parse_origins
from gateway_plugin.settings import plain_yaml

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

HEADER, API_KEY, BEARER = "header", "api-key", "bearer"
PROOFS = (HEADER, API_KEY, BEARER)
"""What `identity_proofs` may name."""

Port = Annotated[int, Field(ge=1, le=65535)]
Transport = Literal["native", "grpcio"]
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
    transport: Transport = Field(
        "native", description="who carries gRPC: native, our own HTTP/2, a tenth of the CPU; grpcio, the library"
    )
    grpc_max_message_bytes: int = Field(
        65 * MIB,
        description="largest message from Envoy: 64 MiB of body, as our Envoy configuration has it, and 1 MiB",
        ge=MIB // 16,
        le=1024 * MIB,
    )
    request_memory_bytes: int = Field(
        160 * MIB,
        description="of messages from Envoy that arrive or wait, in the whole process; those above 1 MiB may use three"
        " quarters, and when they find no place within 3 s their requests are answered 503; as much again is for bodies"
        " that came compressed",
        ge=MIB,
        le=64 * 1024 * MIB,
    )
    grpc_tls_cert_file: Path | None = Field(
        None, description="PEM certificate chain of grpc_port; with it the port speaks TLS; read again when it changes"
    )
    grpc_tls_key_file: Path | None = Field(None, description="PEM private key of grpc_tls_cert_file")
    grpc_tls_client_ca_file: Path | None = Field(
        None, description="PEM certificates that sign Envoy's; with it only their holders may connect (mTLS)"
    )
    drain_seconds: Seconds = Field(30.0, description="how long a stopping process waits for requests in flight")
    drain_grace_seconds: Seconds = Field(
        5.0, description="how long a stopping process still takes new requests, until Envoy has found other replicas"
    )
    release: Literal["stream_end", "access_log"] = Field(
        "stream_end",
        description="what frees a pod's place: the end of the gRPC stream, held for each request in flight, or the log",
    )
    max_inflight_exchanges: int = Field(
        20_000,
        description="requests at work per process; more are answered 503 overloaded; those that wait for their bodies"
        " have bounds of their own; 0: no bound",
        ge=0,
    )
    max_uploads: int = Field(
        10_000, description="requests per process that wait for their bodies, at about 10 KB each; 0: no bound", ge=0
    )
    max_uploads_per_source: int = Field(
        2_000, description="the same of one source address, which may be a proxy's or a node's; 0: no bound", ge=0
    )
    upload_bytes: int = Field(
        384 * MIB,
        description="of bodies above 1 MiB that are on their way, as announced, per process; one source may have half;"
        " more: 503. Envoy keeps them until they are whole; 0: no bound",
        ge=0,
        le=64 * 1024 * MIB,
    )
    upload_seconds: Seconds = Field(
        120.0, description="for a request's body to arrive; then 408. Envoy's own deadline in `envoy-config`, too"
    )
    max_inflight_per_pod: int = Field(
        0, description="requests in flight per pod; when all pods have as many: 503 overloaded; 0: no bound", ge=0
    )
    queue_length: int = Field(
        0, description="requests per model that wait while all pods are full (max_inflight_per_pod); 0: none", ge=0
    )
    queue_seconds: float = Field(
        2.0, description="longest such wait; must be shorter than Envoy's message timeout, 5 s in ours", ge=0.01, le=60
    )

    discovery: Literal["file", "kubernetes"] = Field(
        "file", description="where models and pods come from: endpoints_file, or pods and ModelAdapters of Kubernetes"
    )
    endpoints_file: Path | None = Field(
        None,
        description="with discovery: file: pods per model, in AIBrix's standalone format; reloaded when it changes",
    )
    kubernetes_namespaces: str = Field(
        "", description="namespaces whose pods are used, separated by commas; empty: all, as in AIBrix"
    )
    kubernetes_pods: Literal["all", "labelled"] = Field(
        "all",
        description="all: a model's name may be an annotation, too; labelled: only pods with the label are watched,"
        " less traffic in clusters of many thousand other pods",
    )
    label_prefix: str = Field(
        "model.aibrix.ai",
        description="of the labels and annotations on pods: name, port, metric-port, engine, config; AIBrix's",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    )
    pod_ip_family: Literal["primary", "ipv4", "ipv6"] = Field(
        "primary", description="which address of a pod with two; must be the family of the models' Services"
    )
    kubeconfig: Path | None = Field(
        None, description="outside of a cluster; empty: the pod's service account, else KUBECONFIG or ~/.kube/config"
    )
    models_poll_seconds: float = Field(
        5.0, description="between two reads of an engine's own /v1/models, for adapters; 0: never", ge=0, le=3600
    )
    models_keep_seconds: float = Field(
        3600.0, description="how long a model without pods stays listed, as unavailable", ge=0, le=30 * 86400
    )
    models_file: Path | None = Field(
        None, description="keeps models, aliases and webhooks over restarts; only without Redis, which keeps them else"
    )
    models_owned_by: str = Field(
        "gateway-plugin", description="owner of models whose pods have no label owned-by", min_length=1, max_length=256
    )
    gpu_labels: str = Field(
        "gpu,gpu-type,accelerator,nvidia.com/gpu.product,amd.com/gpu.product-name,cloud.google.com/gke-accelerator",
        description="pod labels that name the accelerator, separated by commas, the strongest first",
    )
    webhook_timeout_seconds: Seconds = Field(5.0, description="for one attempt to deliver an event")
    webhook_attempts: int = Field(
        8, description="attempts before an event is a dead letter; 8 take about two minutes", ge=1, le=50
    )
    webhook_private_targets: bool = Field(
        False, description="let webhooks go to private and loopback addresses, too; they see whatever listens there"
    )
    scrape_interval_seconds: Seconds = Field(
        1.0, description="between two reads of a pod's metrics page; shorter costs the engines CPU"
    )

    replica_sharing: Literal["on", "off"] = Field(
        "on",
        description="replicas with one Redis tell each other their requests in flight; off: each counts its own alone",
    )

    default_strategy: str = Field(
        "", description="routing strategy of requests that name none; empty: Envoy balances, as in AIBrix"
    )
    target_candidates: int = Field(
        3,
        description="pods offered to Envoy per request; those after the first are for retries, of which Envoy makes 2",
        ge=1,
        le=5,
    )
    max_sick_share: float = Field(
        0.5,
        description="of the pods a request could go to, at most so many are left out as sick; never all",
        ge=0,
        le=1,
    )
    sick_retry_seconds: Seconds = Field(
        30.0, description="longest wait until a sick pod is looked at again; waits begin with 1 s and double"
    )

    extra_paths: str = Field(
        "",
        description="exact paths of engines beyond docs/endpoints.md, as /generate, separated by commas; each asks who"
        " sends, needs a model, and counts as one request",
    )

    cors_origins: str = Field(
        "",
        description="web pages of these origins may send requests, separated by commas: https://host, https://*.host,"
        " or * for all; empty: none",
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
    identity_proofs: str = Field(
        "",
        description="what proves who asks, any of: header (whoever reaches Envoy is believed: for trusted networks),"
        " api-key, bearer (who carries auth_bearer_token is believed); empty: bearer with auth_bearer_token, else"
        " header, and api-key with api_keys",
    )
    trusted_hops: int = Field(
        0, description="proxies in front of Envoy that add to x-forwarded-for, whose word on addresses is taken", ge=0
    )
    auth_bearer_token: SecretStr = Field(
        SecretStr(""), description="whoever carries it as `Authorization: Bearer` may name users; see identity_proofs"
    )
    api_keys: bool = Field(
        False, description="accept API keys made through the users API; or name api-key in identity_proofs"
    )
    engine_api_key: SecretStr = Field(
        SecretStr(""), description="sent to engines as `Authorization: Bearer`, in place of the client's credentials"
    )
    engine_api_keys_file: Path | None = Field(
        None,
        description="the same per model: YAML that maps models to keys, say of a mounted Secret; followed",
    )
    forward_api_keys: bool = Field(False, description="let engines see API keys; otherwise the header is removed")
    anonymous: Literal["allow", "reject", "limit"] = Field(
        "allow", description="requests in nobody's name, of those who may make them: served, 401, or limited by source"
    )
    anonymous_rpm: int = Field(
        20, description="requests per minute of one source, an address or an IPv6 /64, with anonymous: limit", ge=1
    )
    admin_token: SecretStr = Field(
        SecretStr(""), description="when set, every call of the users API must carry it as `Authorization: Bearer`"
    )

    accounting: Literal["access_log", "ext_proc", "none"] = Field(
        "access_log",
        description="who reports tokens: Envoy's log; responses, sent through this process; or nobody",
    )
    expose_pod: bool = Field(True, description="tell clients which pod served them (target-pod, target-pod-ip)")
    pod_name: str = Field("", description="name of this replica in metrics; empty: the host name")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug: a line per request")

    @field_validator("extra_paths")
    @classmethod
    def _are_paths(cls, text: str) -> str:
        parse_extra_paths(text)
        return text

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        parse_origins(text)
        return text

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if self.release == "access_log" and self.accounting != "access_log":
            raise ValueError(f"release = 'access_log': nobody releases pods with accounting = {self.accounting!r}")
        if self.queue_length and not self.max_inflight_per_pod:
            raise ValueError(f"queue_length = {self.queue_length}: nobody waits without max_inflight_per_pod")
        if self.request_memory_bytes * 3 // 4 < self.grpc_max_message_bytes:
            raise ValueError(
                f"request_memory_bytes = {self.request_memory_bytes}: three quarters of it must hold one message,"
                f" grpc_max_message_bytes = {self.grpc_max_message_bytes}"
            )
        if 0 < self.upload_bytes < 2 * self.grpc_max_message_bytes:
            raise ValueError(
                f"upload_bytes = {self.upload_bytes}: half of it must hold one message,"
                f" grpc_max_message_bytes = {self.grpc_max_message_bytes}"
            )
        if bool(self.grpc_tls_cert_file) != bool(self.grpc_tls_key_file):
            raise ValueError("grpc_tls_cert_file and grpc_tls_key_file: set both, or neither")
        if self.models_file is not None and self.effective_redis_url:
            raise ValueError("models_file: with Redis, models are kept there; unset one of the two")
        if self.grpc_tls_client_ca_file and not self.grpc_tls_cert_file:
            raise ValueError("grpc_tls_client_ca_file: needs grpc_tls_cert_file and grpc_tls_key_file")
        self._check_proofs()
        return self

    def _check_proofs(self) -> None:
        told, proofs = self.identity_proofs, self.proofs
        unknown, has_token = proofs - set(PROOFS), bool(self.auth_bearer_token.get_secret_value())
        if unknown:
            raise ValueError(f"identity_proofs = {told!r}: {min(unknown)!r} is none; allowed: {', '.join(PROOFS)}")
        if (BEARER in proofs) != has_token:
            cause = "bearer needs auth_bearer_token" if BEARER in proofs else "nobody asks for auth_bearer_token"
            raise ValueError(f"identity_proofs = {told!r}: {cause}; name bearer and set the token, or neither")
        if self.api_keys and API_KEY not in proofs:
            raise ValueError(f"identity_proofs = {told!r}: api_keys = true needs api-key among them")
        if self.anonymous == "limit" and proofs == {API_KEY}:
            raise ValueError("anonymous = 'limit': with identity_proofs = 'api-key' nobody is anonymous")

    @property
    def proofs(self) -> frozenset[str]:
        """The parts of `identity_proofs`, or what the older settings say."""
        told = frozenset(proof.strip() for proof in self.identity_proofs.split(",") if proof.strip())
        if told:
            return told
        first = BEARER if self.auth_bearer_token.get_secret_value() else HEADER
        return frozenset({first, API_KEY} if self.api_keys else {first})

    @property
    def replica(self) -> str:
        """This process in metrics."""
        return self.pod_name or socket.gethostname()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces to watch; none means all."""
        names = (name.strip() for name in self.kubernetes_namespaces.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def gpu_label_keys(self) -> tuple[str, ...]:
        """The keys in `gpu_labels`."""
        return tuple(key.strip() for key in self.gpu_labels.split(",") if key.strip())

    @property
    def effective_redis_url(self) -> str:
        """The URL with its password, or empty when limits live in memory."""
        if self.redis_url.get_secret_value() or not self.redis_host:
            return self.redis_url.get_secret_value()
        password = quote(self.redis_password.get_secret_value(), safe="")
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{f':{password}@' if password else ''}{host}:{self.redis_port}"


S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class LoadedOf(Generic[S]):
    """Settings, the origin of each value ("default", "environment NAME", "file PATH"), and what was ignored."""

    settings: S
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


Loaded = LoadedOf[Settings]


def load(config_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Reads and checks everything; raises SettingsError."""
    return load_as(Settings, AIBRIX_NAMES, config_file, environ)


def load_as(
    model: type[S], aliases: Mapping[str, str], config_file: Path | None, environ: Mapping[str, str] | None = None
) -> LoadedOf[S]:
    """The same for the settings of another process, which has further names for some of its variables."""
    env = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins = dict.fromkeys(model.model_fields, "default")
    for name, value in _read_yaml(config_file).items():
        values[name], origins[name] = value, f"file {config_file}"
    for name in model.model_fields:
        for variable in env_names(name, aliases):
            if env.get(variable) and not _injected_by_kubernetes(name, env[variable]):
                values[name], origins[name] = env[variable], f"environment {variable}"
                break
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, origins, model) for item in error.errors())) from None
    return LoadedOf(settings, origins, tuple(_strangers(env, model, aliases)))


def env_names(name: str, aliases: Mapping[str, str] = AIBRIX_NAMES) -> list[str]:
    """The environment variables of a setting, strongest first."""
    return [PREFIX + name.upper(), *([aliases[name]] if name in aliases else [])]


def _read_yaml(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        content = plain_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config file {path}: {error.strerror}") from None
    except (plain_yaml.PlainYamlError, UnicodeDecodeError) as error:
        raise SettingsError(f"config file {path} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"config file {path}: must be a mapping of setting names to values")
    return {str(key): value for key, value in content.items()}


def _injected_by_kubernetes(name: str, value: str) -> bool:
    # A Service called "redis" gives every container REDIS_PORT=tcp://10.0.0.1:6379.
    return name.endswith("_port") and value.startswith("tcp://")


def _explain(item: ErrorDetails, origins: Mapping[str, str], model: type[BaseModel]) -> str:
    if not item["loc"]:  # settings that do not fit together name themselves
        return str(item["ctx"]["error"])
    name = str(item["loc"][0])
    field = model.model_fields.get(name)
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


def _strangers(env: Mapping[str, str], model: type[BaseModel], aliases: Mapping[str, str]) -> list[str]:
    # Kubernetes also injects GATEWAY_..._PORT for a Service of that name, so a stranger is a warning, not a mistake.
    known = {variable for name in model.model_fields for variable in env_names(name, aliases)}
    known.add(CONFIG_FILE_VARIABLE)
    unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in known)
    return [f"environment variable {name} is not a setting and was ignored" for name in unknown]
