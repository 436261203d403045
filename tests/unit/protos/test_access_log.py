"""Entries are read as what was put into them, whatever is missing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protos.access_log import FinishedExchange, StreamAccessLogsMessage, entries_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = ("user", "model", "targets", "strategy")
COUNTS = ("reserved_tokens", "prompt_tokens_estimate")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
NUMBERS = st.integers(0, 2**52) | st.sampled_from([-1.0, 2.0**60, 0.5])
OURS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, TEXT) | dict.fromkeys(COUNTS, NUMBERS))
USAGE = st.none() | st.dictionaries(st.sampled_from((*TOKENS, "odd")), NUMBERS | TEXT)
SECONDS = st.none() | st.floats(0.0, 1000.0)
ADDRESS = st.sampled_from(["", "10.0.0.1", "fd00::1"])


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
    for seconds, field in ((duration, common.duration), (last_byte, common.time_to_last_downstream_tx_byte)):
        if seconds is not None:
            field.FromNanoseconds(int(seconds * 1e9))
    common.upstream_remote_address.socket_address.address = address
    common.upstream_remote_address.socket_address.port_value = 80
    common.response_flags.downstream_remote_reset = left
    took = duration if duration is not None else last_byte or 0.0
    targets = ours.get("targets", "")
    (parsed,) = entries_of(StreamAccessLogsMessage.FromString(message.SerializeToString()))
    assert parsed is not None
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
        tokens={name: count for name in TOKENS if (count := counted((usage or {}).get(name))) is not None},
    )
