"""Envoy's gRPC access log: one finished HTTP exchange per entry, as plain values.

An entry belongs to us when it carries the metadata that the ext_proc reply wrote; all others are foreign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse
from google.protobuf.message import DecodeError

from protos.ext_proc import METADATA_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon, HTTPAccessLogEntry
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.struct_pb2 import Value

METHOD_SERVICE = "envoy.service.accesslog.v3.AccessLogService"
METHOD_NAME = "StreamAccessLogs"
USAGE_NAMESPACE = "gateway_plugin.usage"
"""Dynamic metadata that the Lua filter writes when it finds usage in a response."""

_TOKENS = "tokens"
"""In USAGE_NAMESPACE: what the response counts."""
_FIRST_BODY = "first_body_at_ms"
"""In USAGE_NAMESPACE: when the first output of a stream passed, in milliseconds since 1970 by Envoy's clock."""

_COUNT_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
_MAX_COUNT = 2.0**53
_NO_FLAGS: frozenset[str] = frozenset()
_NO_USAGE: Mapping[str, Value] = {}
_CLIENT_LEFT = ("downstream_connection_termination", "downstream_remote_reset")
_DOWNSTREAM_END = (0, 6)  # not specified (before Envoy knew types), and DownstreamEnd: the entry is final

__all__ = ["DecodeError", "FinishedExchange", "StreamAccessLogsMessage", "StreamAccessLogsResponse", "entries_of"]


class FinishedExchange(msgspec.Struct, frozen=True, gc=False):
    """What Envoy knows of an exchange when it is over. Token counts are None where the response named no usage."""

    charge_id: str
    user: str
    model: str
    status: int
    pod_address: str
    """The "ip:port" that answered; empty when no pod was reached."""
    duration_seconds: float
    ttft_seconds: float | None
    """From the request's first byte at Envoy to the first output of a stream, not to its headers, which engines send
    ahead; None for other responses, whose first byte comes with their last token."""
    attempts: int
    """How many pods Envoy tried, or how often; `pod_address` is the last of them."""
    client_aborted: bool
    response_bytes: int = 0
    """Of the body, as far as it left Envoy."""
    streamed: bool = False
    """Whether events of a stream have passed."""
    targets: tuple[str, ...] = ()
    """The candidates that the plugin named, in order."""
    flags: frozenset[str] = frozenset()
    """Envoy's response flags, by their names in its `ResponseFlags` message."""
    details: str = ""
    """Why Envoy answered as it did; "via_upstream" for a pod's own answer."""
    reserved_tokens: int = 0
    """What the admission had charged ahead."""
    prompt_tokens_estimate: int = 0
    tokens: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Of prompt_tokens, completion_tokens, total_tokens, cached_tokens, those that the response named."""


def entries_of(message: StreamAccessLogsMessage) -> Iterator[FinishedExchange | None]:
    """Our finished exchanges; None stands for an entry that is foreign or not final."""
    for entry in message.http_logs.log_entry:
        yield _parse(entry)


def _parse(entry: HTTPAccessLogEntry) -> FinishedExchange | None:
    common = entry.common_properties
    metadata = common.metadata.filter_metadata
    if METADATA_NAMESPACE not in metadata or common.access_log_type not in _DOWNSTREAM_END:
        return None
    # Every look at a part of a message makes an object for it, so that each part is looked at once. A field that a
    # Struct does not have is made then, empty, which is what it stands for.
    ours = metadata[METADATA_NAMESPACE].fields
    charge_id = ours["charge_id"].string_value
    if not charge_id:
        return None
    usage = metadata[USAGE_NAMESPACE].fields if USAGE_NAMESPACE in metadata else _NO_USAGE
    streamed = _FIRST_BODY in usage
    flags = _flags(common)
    response, targets = entry.response, ours["targets"].string_value
    return FinishedExchange(
        charge_id=charge_id,
        user=ours["user"].string_value,
        model=ours["model"].string_value,
        status=response.response_code.value,
        pod_address=_address(common),
        duration_seconds=_seconds(
            common.duration if common.HasField("duration") else common.time_to_last_downstream_tx_byte
        ),
        ttft_seconds=_first_output_seconds(common, usage) if streamed else None,
        attempts=common.upstream_request_attempt_count,
        client_aborted=not flags.isdisjoint(_CLIENT_LEFT),
        response_bytes=response.response_body_bytes,
        streamed=streamed,
        targets=tuple(targets.split(",")) if targets else (),
        flags=flags,
        details=response.response_code_details,
        reserved_tokens=_count(ours["reserved_tokens"].number_value),
        prompt_tokens_estimate=_count(ours["prompt_tokens_estimate"].number_value),
        tokens=_tokens(usage[_TOKENS].struct_value.fields) if _TOKENS in usage else {},
    )


def _flags(common: AccessLogCommon) -> frozenset[str]:
    if not common.HasField("response_flags"):
        return _NO_FLAGS
    return frozenset([field.name for field, _ in common.response_flags.ListFields()])


def _count(value: float) -> int:
    return int(value) if 0.0 <= value < _MAX_COUNT else 0


def _tokens(usage: Mapping[str, Value]) -> dict[str, int]:
    tokens = {}
    for name in _COUNT_FIELDS:
        if name in usage:
            value = usage[name]
            number = value.number_value
            if 0 <= number < _MAX_COUNT and (number or value.HasField("number_value")):
                tokens[name] = int(number)
    return tokens


def _address(common: AccessLogCommon) -> str:
    socket = common.upstream_remote_address.socket_address
    address = socket.address
    if not address:
        return ""
    return f"[{address}]:{socket.port_value}" if ":" in address else f"{address}:{socket.port_value}"


def _first_output_seconds(common: AccessLogCommon, usage: Mapping[str, Value]) -> float:
    start, headers_seconds = common.start_time, _seconds(common.time_to_first_upstream_rx_byte)
    elapsed = float(usage[_FIRST_BODY].number_value / 1e3 - start.seconds - start.nanos / 1e9)
    # Whole milliseconds, and a clock that may be set meanwhile: what monotonic times exclude cannot be.
    return min(max(elapsed, headers_seconds), _seconds(common.time_to_last_downstream_tx_byte) or elapsed)


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
