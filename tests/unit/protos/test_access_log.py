"""Entries are read as what was put into them, whatever is missing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from protos.access_log import DecodeError, FinishedExchange, _plain_tokens, _text, _tokens, entries_of
from protos.encoding import field
from protos.envoy_log_pb2 import AccessLog

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = ("user", "model", "targets", "request_id", "strategy")
COUNTS = ("reserved_tokens", "prompt_tokens_estimate")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
NUMBERS = st.integers(0, 2**52) | st.sampled_from([-1.0, 2.0**60, 0.5])
OURS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, TEXT) | dict.fromkeys(COUNTS, NUMBERS))
USAGE = st.none() | st.dictionaries(st.sampled_from((*TOKENS, "odd")), NUMBERS | TEXT)
SECONDS = st.none() | st.floats(0.0, 1000.0)
ADDRESS = st.sampled_from(["", "10.0.0.1", "fd00::1"])
AS_BYTES = {
    (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE),
    (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM),
}


def value_of(content: dict[str, Any]) -> Value:
    value = Value()
    value.struct_value.update(content)
    return value


def counted(value: Any) -> int | None:
    """A number that can be a count."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else None


@given(OURS, USAGE, SECONDS, SECONDS, ADDRESS, st.booleans())
def test_what_is_put_into_an_entry_is_read(
    ours: dict[str, Any],
    usage: dict[str, Any] | None,
    duration: float | None,
    last_byte: float | None,
    address: str,
    left: bool,
):
    message = StreamAccessLogsMessage()
    log = message.http_logs.log_entry.add()
    common = log.common_properties
    common.metadata.filter_metadata["gateway_plugin"].update({"charge_id": "c", **ours})
    if usage is not None:
        common.metadata.filter_metadata["gateway_plugin.usage"].update({"tokens": usage})
    for seconds, part in ((duration, common.duration), (last_byte, common.time_to_last_downstream_tx_byte)):
        if seconds is not None:
            part.FromNanoseconds(int(seconds * 1e9))
    common.upstream_remote_address.socket_address.address = address
    common.upstream_remote_address.socket_address.port_value = 80
    common.response_flags.downstream_remote_reset = left
    took = duration if duration is not None else last_byte or 0.0
    targets = ours.get("targets", "")
    (parsed,) = entries_of(message.SerializeToString())
    assert isinstance(parsed, FinishedExchange)
    assert abs(parsed.duration_seconds - took) < 1e-6
    assert parsed == FinishedExchange(
        charge_id="c",
        user=ours.get("user", ""),
        model=ours.get("model", ""),
        status=0,
        pod_address={"": "", "10.0.0.1": "10.0.0.1:80", "fd00::1": "[fd00::1]:80"}[address],
        duration_seconds=parsed.duration_seconds,
        ttft_seconds=None,
        attempts=0,
        client_aborted=left,
        targets=tuple(targets.split(",")) if targets else (),
        flags=frozenset({"downstream_remote_reset"} if left else ()),
        reserved_tokens=counted(ours.get("reserved_tokens")) or 0,
        prompt_tokens_estimate=counted(ours.get("prompt_tokens_estimate")) or 0,
        request_id=ours.get("request_id", ""),
        strategy=ours.get("strategy", ""),
        tokens={name: count for name in TOKENS if (count := counted((usage or {}).get(name))) is not None},
    )


KINDS = NUMBERS | TEXT | st.none() | st.booleans() | st.floats() | st.just([1.0]) | st.just({"prompt_tokens": 1.0})
VALUES = st.dictionaries(st.sampled_from((*TOKENS, "odd")) | TEXT, KINDS).map(value_of) | st.builds(Value)


@given(VALUES, st.binary(max_size=4), st.integers(0, 60))
def test_counts_are_read_as_by_protobuf_whatever_their_bytes(value: Value, more: bytes, cut: int):
    fields = value.struct_value.fields
    numbers = {name: fields[name].number_value for name in TOKENS if fields[name].HasField("number_value")}
    wanted = {name: int(number) for name, number in numbers.items() if 0 <= number < 2**53}
    assert _tokens(value.SerializeToString()) == wanted
    content = value.struct_value.SerializeToString()
    for odd in (content[:-cut], content + more, more + content):
        framed = field(b"\x2a", odd)
        with suppress(DecodeError):
            assert _tokens(framed) == _plain_tokens(framed)


@given(VALUES | TEXT.map(lambda text: Value(string_value=text * 10)))
def test_text_is_read_as_by_protobuf(value: Value):
    assert _text(value.SerializeToString()) == value.string_value


def test_our_view_has_the_numbers_and_forms_of_envoys():
    pairs = [(AccessLog.DESCRIPTOR, StreamAccessLogsMessage.DESCRIPTOR)]
    for ours, envoys in pairs:
        for part in ours.fields:
            theirs = envoys.fields_by_name[part.name]
            assert part.number == theirs.number
            assert part.is_repeated == theirs.is_repeated
            same = part.type == theirs.type or (part.type, theirs.type) in AS_BYTES
            assert same, part.full_name
            if part.message_type is not None and part.type == theirs.type:
                pairs.append((part.message_type, theirs.message_type))
