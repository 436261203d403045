"""From settings to what the parts of the process are given."""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING

from gateway_plugin.accounting.ledger_writer import LedgerWriter
from gateway_plugin.accounting.limiting import Limiting
from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.endpoints.extra_paths import parse_extra_paths
from gateway_plugin.endpoints.web_pages import WebPages, parse_origins
from gateway_plugin.exchange.collaborators import ProcessorBounds
from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.exchange.uploads import UploadBounds
from gateway_plugin.grpc.tls import TlsFiles
from gateway_plugin.settings.engine_keys import EngineKeys, EngineKeysError, read_engine_keys
from gateway_plugin.settings.start_error import StartError
from ratelimit.windows.periods import zone_of
from routing.pods.circuit import CircuitSettings
from routing.pods.pod_health import PodHealth

if TYPE_CHECKING:
    from gateway_plugin.settings.engine_settings import EngineSettings
    from gateway_plugin.settings.identity_settings import IdentitySettings
    from gateway_plugin.settings.routing_settings import RoutingSettings
    from gateway_plugin.settings.settings import Settings
    from gateway_plugin.settings.tls_settings import TlsSettings


def rules_of(settings: Settings) -> Rules:
    """What the operator configured for all requests."""
    limited = settings.users.limits == "on"
    origins = parse_origins(settings.endpoints.cors_origins)
    endpoints = EndpointTable(parse_extra_paths(settings.endpoints.extra_paths))
    return Rules(
        settings.routing.default_strategy,
        _identity_rules(settings.identity),
        limited,
        settings.usage.stream_usage,
        settings.routing.filter_keys,
        settings.routing.expose_pod,
        endpoints=endpoints,
        web_pages=WebPages(origins) if origins else None,
        max_body_bytes=settings.listeners.grpc_max_message_bytes,
    )


def _identity_rules(settings: IdentitySettings) -> IdentityRules:
    return IdentityRules(
        proofs=settings.proofs,
        bearer_token=settings.auth_bearer_token.get_secret_value(),
        forward_api_keys=settings.forward_api_keys,
        anonymous=settings.anonymous,
        trusted_hops=settings.trusted_hops,
    )


def tls_of(settings: TlsSettings) -> TlsFiles | None:
    """Of the gRPC port; None: plaintext."""
    chain, key = settings.cert_file, settings.key_file
    return TlsFiles(chain, key, settings.client_ca_file) if chain is not None and key is not None else None


def bounds_of(settings: Settings) -> ProcessorBounds:
    """How much one process takes on."""
    return ProcessorBounds(
        max_exchanges=settings.overload.max_inflight_exchanges,
        unpacked_bytes=settings.listeners.request_memory_bytes,
        uploads=_upload_bounds(settings),
        max_queue_length=settings.overload.queue_length,
        max_wait_seconds=settings.overload.queue_seconds,
        max_held_requests=settings.overload.held_requests,
        max_held_bytes=settings.overload.held_bytes,
        max_held_seconds=settings.overload.held_seconds,
        ends_calls=settings.usage.release == "access_log",
    )


def _upload_bounds(settings: Settings) -> UploadBounds:
    overload, listeners = settings.overload, settings.listeners
    large_bytes = overload.upload_bytes
    if listeners.transport == "grpcio":
        # The library takes whatever Envoy sends: only what was never asked for does not come.
        large_bytes = min(large_bytes or listeners.request_memory_bytes, listeners.request_memory_bytes)
    return UploadBounds(
        overload.max_uploads,
        overload.max_uploads_per_source,
        overload.upload_seconds,
        total_bytes=large_bytes,
        source_bytes_per_second=overload.upload_bytes_per_second_per_source,
    )


def pod_health_of(settings: RoutingSettings) -> PodHealth:
    """Circuits of all pods."""
    circuit = CircuitSettings(longest_delay_seconds=settings.sick_retry_seconds)
    return PodHealth(time.monotonic, random.Random(), settings.max_sick_share, circuit)


def engine_keys_of(settings: EngineSettings) -> EngineKeys:
    """Raises StartError."""
    try:
        return read_engine_keys(settings.api_key.get_secret_value(), settings.api_keys_file)
    except EngineKeysError as error:
        raise StartError(str(error)) from None


def limiter_of(settings: Settings) -> Limiting:
    """Raises StartError."""
    try:
        return Limiting(settings)
    except ValueError as error:
        setting = "users.quota_time_zone" if "time zone" in str(error) else "redis.url"
        raise StartError(f"{setting}: {error}") from None


def ledger_of(settings: Settings, limiter: Limiting) -> LedgerWriter | None:
    """None where nobody wants to know."""
    usage = settings.usage
    if not usage.ledger:
        return None
    # Unlike all that lived before and after it, whatever name it is given.
    writer = f"{settings.process.replica}-{secrets.token_hex(8)}"
    zone = zone_of(settings.users.quota_time_zone)
    return LedgerWriter(limiter.ledger, writer, time.time, zone, retention_days=usage.ledger_days)
