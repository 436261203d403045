"""Envoy's gRPC access log: one finished HTTP exchange per entry, as plain values.

An entry belongs to us when it carries the metadata that the ext_proc reply wrote; all others are foreign. Of an entry
only that is read of which somebody asks (see `envoy_log.proto`). What comes again and again is read once: addresses,
flags, statuses, names and counts are kept by the bytes they were read from, which say all of them.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

import msgspec
from envoy.config.core.v3.address_pb2 import Address
from envoy.data.accesslog.v3.accesslog_pb2 import ResponseFlags
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsResponse
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Value
from google.protobuf.wrappers_pb2 import UInt32Value

from protos.encoding import struct, tag
from protos.envoy_log_pb2 import AccessLog, Common, Entry, Time
from protos.ext_proc import METADATA_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
_NO_USAGE: Mapping[str, bytes] = {}
_KEPT = 4096
"""Of each kind: users, pods and counts that come lately."""
_SHORT_TEXTS = {2 + length: tag(Value.DESCRIPTOR, "string_value") + bytes((length,)) for length in range(128)}
_SHORT_STRUCTS = {2 + length: tag(Value.DESCRIPTOR, "struct_value") + bytes((length,)) for length in range(128)}
"""What a Value of that many bytes begins with."""
_NUMBER_BYTES = len(Value(number_value=1).SerializeToString())
_NUMBER_TAG = Value(number_value=1).SerializeToString()[0]
_DOUBLE = Struct("<d")
_BEFORE_COUNTS = {struct({name: 1.0})[:-_NUMBER_BYTES]: name for name in _COUNT_FIELDS}
"""Counts by what stands before them in a Struct's bytes."""
_CLIENT_LEFT = ("downstream_connection_termination", "downstream_remote_reset")
_DOWNSTREAM_END = (0, 6)  # not specified (before Envoy knew types), and DownstreamEnd: the entry is final

__all__ = ["DecodeError", "FinishedExchange", "StreamAccessLogsResponse", "UnreadableEntry", "entries_of"]


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
    uncounted: bool = False
    """Whether the tokens that the response names are none that it cost, but those of an earlier one."""
    source: str = ""
    """Where a request came from that counts against its source, in nobody's name."""
    request_id: str = ""
    strategy: str = ""
    """Empty where Envoy balanced."""
    tokens: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Of prompt_tokens, completion_tokens, total_tokens, cached_tokens, those that the response named."""
    trace: str = ""
    """What the decision's trace wants to be told at the end; empty where it was not traced."""


class UnreadableEntry(msgspec.Struct, frozen=True):
    """An entry that says it is ours, and cannot be read."""

    reason: str


def entries_of(message: bytes) -> Iterator[FinishedExchange | UnreadableEntry | None]:
    """Our finished exchanges of a StreamAccessLogsMessage; None stands for an entry that is foreign or not final.

    Raises DecodeError for what is no such message; an entry that cannot be read harms no other.
    """
    return map(_parse_alone, AccessLog.FromString(message).http_logs.log_entry)


def _parse_alone(entry: Entry) -> FinishedExchange | UnreadableEntry | None:
    try:
        return _parse(entry)
    except (DecodeError, ValueError, IndexError) as error:
        return UnreadableEntry(f"{type(error).__name__}: {error}")


def _parse(entry: Entry) -> FinishedExchange | None:
    common = entry.common_properties
    metadata = common.metadata.filter_metadata
    if METADATA_NAMESPACE not in metadata or common.access_log_type not in _DOWNSTREAM_END:
        return None
    # Every look at a part of a message makes an object for it, so that each part is looked at once. A field that a
    # Struct does not have is made then, empty, which is what it stands for.
    ours = metadata[METADATA_NAMESPACE].fields
    charge_id = _text(ours["charge_id"])
    if not charge_id:
        return None
    usage = metadata[USAGE_NAMESPACE].fields if USAGE_NAMESPACE in metadata else _NO_USAGE
    streamed = _FIRST_BODY in usage
    flags, response = _flags(common.response_flags), entry.response
    return FinishedExchange(
        charge_id=charge_id,
        user=_kept_text(ours["user"]),
        model=_kept_text(ours["model"]),
        status=_status(response.response_code),
        pod_address=_address(common.upstream_remote_address),
        duration_seconds=_duration_seconds(common),
        ttft_seconds=_first_output_seconds(common, usage) if streamed else None,
        attempts=common.upstream_request_attempt_count,
        client_aborted=bool(flags) and not flags.isdisjoint(_CLIENT_LEFT),
        response_bytes=response.response_body_bytes,
        streamed=streamed,
        targets=_targets(ours["targets"]),
        flags=flags,
        details=response.response_code_details,
        reserved_tokens=_count(ours["reserved_tokens"]) or 0,
        prompt_tokens_estimate=_count(ours["prompt_tokens_estimate"]) or 0,
        uncounted="uncounted" in ours,
        source=_kept_text(ours["source"]),
        request_id=_text(ours["request_id"]),
        strategy=_kept_text(ours["strategy"]),
        tokens=_tokens(usage[_TOKENS]) if _TOKENS in usage else {},
        trace=_text(ours["trace"]) if "trace" in ours else "",
    )


def _text(value: bytes) -> str:
    """Of a Value; empty for one that is no text."""
    if value[:2] == _SHORT_TEXTS.get(len(value)):
        return value[2:].decode()
    return Value.FromString(value).string_value


_kept_text = lru_cache(_KEPT)(_text)


@lru_cache(_KEPT)
def _targets(value: bytes) -> tuple[str, ...]:
    targets = _text(value)
    return tuple(targets.split(",")) if targets else ()


@lru_cache(_KEPT)
def _count(value: bytes) -> int | None:
    """Of a Value; None for one that cannot be a count."""
    parsed = Value.FromString(value)
    number = parsed.number_value
    if 0.0 <= number < _MAX_COUNT and (number or parsed.HasField("number_value")):
        return int(number)
    return None


@lru_cache(_KEPT)
def _status(wrapped: bytes) -> int:
    return UInt32Value.FromString(wrapped).value


@lru_cache(_KEPT)
def _flags(flags: bytes) -> frozenset[str]:
    return frozenset([field.name for field, _ in ResponseFlags.FromString(flags).ListFields()])


@lru_cache(_KEPT)
def _address(address: bytes) -> str:
    socket = Address.FromString(address).socket_address
    if not socket.address:
        return ""
    host = f"[{socket.address}]" if ":" in socket.address else socket.address
    return f"{host}:{socket.port_value}"


def _tokens(value: bytes) -> dict[str, int]:
    """Of a Value, a Struct of numbers. As our Lua filter lets Envoy write it, no object need be made for it."""
    end, at = len(value), 2
    if value[:2] != _SHORT_STRUCTS.get(end):
        return _plain_tokens(value)
    tokens = {}
    while at < end - _NUMBER_BYTES:
        stop = at + 2 + value[at + 1]
        number = stop - _NUMBER_BYTES
        name = _BEFORE_COUNTS.get(value[at:number])
        if name is None:
            return _plain_tokens(value)
        count = _count(value[number:stop])
        if count is not None:
            tokens[name] = count
        at = stop
    return tokens if at == end else _plain_tokens(value)


def _plain_tokens(value: bytes) -> dict[str, int]:
    fields = Value.FromString(value).struct_value.fields
    counts = {name: _count(fields[name].SerializeToString()) for name in _COUNT_FIELDS if name in fields}
    return {name: count for name, count in counts.items() if count is not None}


def _duration_seconds(common: Common) -> float:
    duration = _seconds(common.duration)
    return duration if duration or common.HasField("duration") else _seconds(common.time_to_last_downstream_tx_byte)


def _first_output_seconds(common: Common, usage: Mapping[str, bytes]) -> float:
    start, headers_seconds = common.start_time, _seconds(common.time_to_first_upstream_rx_byte)
    first_body_ms = _number(usage[_FIRST_BODY])
    elapsed = first_body_ms / 1e3 - start.seconds - start.nanos / 1e9
    # Whole milliseconds, and a clock that may be set meanwhile: what monotonic times exclude cannot be.
    last_seconds = _seconds(common.time_to_last_downstream_tx_byte) or elapsed
    first_seconds = elapsed if elapsed > headers_seconds else headers_seconds  # noqa: FURB136 - max() is slower
    return first_seconds if first_seconds < last_seconds else last_seconds  # noqa: FURB136 - and min()


def _number(value: bytes) -> float:
    """Of a Value; 0 for one that is no number."""
    if len(value) == _NUMBER_BYTES and value[0] == _NUMBER_TAG:
        number: float = _DOUBLE.unpack_from(value, 1)[0]
        return number
    return Value.FromString(value).number_value


def _seconds(time: Time) -> float:
    return time.seconds + time.nanos / 1e9
