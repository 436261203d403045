"""The numbers of all pods as numpy columns: one row a pod, grown by doubling.

Rows are recycled, so a row number alone never identifies a pod: `incarnation` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.pods.cells import Cells

FloatColumn = NDArray[np.float64]
IntColumn = NDArray[np.int64]
HashColumn = NDArray[np.uint64]
BoolColumn = NDArray[np.bool_]

# An 8B model on one A100 computes about 8,000 prompt tokens a second; only the order of magnitude matters, and only
# until the pod's own rate is known.
DEFAULT_PREFILL_TOKENS_PER_SECOND = 8000.0

# What the gateway counts itself starts at zero; what it must measure first starts at NaN, unknown.
_INTEGERS = ("incarnation", "inflight_requests", "requests_total", "booked_requests_since_poll")
_HASHES = ("address_hash", "model_hash")
_COUNTED = (
    "inflight_prompt_tokens",
    "inflight_output_tokens",
    "inflight_requests_elsewhere",
    "inflight_prompt_tokens_elsewhere",
    "inflight_output_tokens_elsewhere",
    "booked_tokens_since_poll",
    "prefill_booked_tokens",
    "prefill_backlog_tokens",
    "prefill_backlog_at_seconds",
    "prefill_queued_tokens",
    "prefill_corrected_tokens",
    "prefill_done_tokens",
    "prefill_done_at_seconds",
    "pace_tokens_squared",
    "pace_token_seconds",
    "busy_since_seconds",
)
_MEASURED = (
    "running_requests",
    "waiting_requests",
    "kv_usage_ratio",
    "kv_capacity_tokens",
    "prefix_hit_tokens",
    "prefix_query_tokens",
    "adapter_slots",
    "prefill_tokens_per_second",
    "engine_prefill_tokens_per_second",
    "engine_ttft_seconds",
    "engine_tpot_seconds",
    "polled_at_seconds",
    "ttft_seconds",
    "tpot_seconds",
    "decoded_tokens",
    "decoding_seconds",
    "decode_base_seconds",
    "decode_request_seconds",
)


class Columns:
    """Every column has the same length, `capacity`."""

    incarnation: IntColumn
    inflight_requests: IntColumn
    requests_total: IntColumn
    booked_requests_since_poll: IntColumn
    address_hash: HashColumn
    model_hash: HashColumn
    inflight_prompt_tokens: FloatColumn
    inflight_output_tokens: FloatColumn
    inflight_requests_elsewhere: FloatColumn
    inflight_prompt_tokens_elsewhere: FloatColumn
    inflight_output_tokens_elsewhere: FloatColumn
    booked_tokens_since_poll: FloatColumn
    prefill_booked_tokens: FloatColumn
    prefill_backlog_tokens: FloatColumn
    prefill_backlog_at_seconds: FloatColumn
    prefill_queued_tokens: FloatColumn
    prefill_corrected_tokens: FloatColumn
    prefill_done_tokens: FloatColumn
    prefill_done_at_seconds: FloatColumn
    pace_tokens_squared: FloatColumn
    pace_token_seconds: FloatColumn
    busy_since_seconds: FloatColumn
    running_requests: FloatColumn
    waiting_requests: FloatColumn
    kv_usage_ratio: FloatColumn
    kv_capacity_tokens: FloatColumn
    prefix_hit_tokens: FloatColumn
    prefix_query_tokens: FloatColumn
    adapter_slots: FloatColumn
    prefill_tokens_per_second: FloatColumn
    engine_prefill_tokens_per_second: FloatColumn
    engine_ttft_seconds: FloatColumn
    engine_tpot_seconds: FloatColumn
    polled_at_seconds: FloatColumn
    ttft_seconds: FloatColumn
    tpot_seconds: FloatColumn
    decoded_tokens: FloatColumn
    decoding_seconds: FloatColumn
    decode_base_seconds: FloatColumn
    decode_request_seconds: FloatColumn

    def __init__(self, capacity: int = 16) -> None:
        self.capacity = capacity
        for name in _names():
            setattr(self, name, _empty(name, capacity))
        self.cells = Cells()
        """The same memory, a number at a time."""
        self._show()

    def grow(self) -> None:
        """Doubles the capacity; row numbers stay valid."""
        for name in _names():
            column: NDArray[Any] = getattr(self, name)
            setattr(self, name, np.concatenate([column, _empty(name, self.capacity)]))
        self.capacity *= 2
        self._show()

    def reset(self, row: int, incarnation: int) -> None:
        """Gives the row to a new incarnation: empty books, unknown metrics."""
        for name in _names():
            getattr(self, name)[row] = np.nan if name in _MEASURED else 0
        self.incarnation[row] = incarnation

    def _show(self) -> None:
        self.cells.show({name: getattr(self, name) for name in _names()})


def _names() -> tuple[str, ...]:
    return (*_INTEGERS, *_HASHES, *_COUNTED, *_MEASURED)


def _empty(name: str, length: int) -> NDArray[Any]:
    if name in _MEASURED:
        return np.full(length, np.nan)
    return np.zeros(length, dtype=np.int64 if name in _INTEGERS else np.uint64 if name in _HASHES else np.float64)
