"""Single numbers of the pod table: the memory of its columns, read and written one element at a time.

A memoryview gives a Python number in a third of the time that numpy takes to make one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Cells:
    """As `Columns`; a number is at `cells.name[row]`."""

    incarnation: memoryview[int]
    inflight_requests: memoryview[int]
    requests_total: memoryview[int]
    booked_requests_since_poll: memoryview[int]
    address_hash: memoryview[int]
    model_hash: memoryview[int]
    inflight_prompt_tokens: memoryview[float]
    inflight_output_tokens: memoryview[float]
    inflight_requests_elsewhere: memoryview[float]
    inflight_prompt_tokens_elsewhere: memoryview[float]
    inflight_output_tokens_elsewhere: memoryview[float]
    booked_tokens_since_poll: memoryview[float]
    prefill_booked_tokens: memoryview[float]
    prefill_backlog_tokens: memoryview[float]
    prefill_backlog_at_seconds: memoryview[float]
    prefill_queued_tokens: memoryview[float]
    prefill_corrected_tokens: memoryview[float]
    prefill_done_tokens: memoryview[float]
    prefill_done_at_seconds: memoryview[float]
    pace_tokens_squared: memoryview[float]
    pace_token_seconds: memoryview[float]
    busy_since_seconds: memoryview[float]
    running_requests: memoryview[float]
    waiting_requests: memoryview[float]
    kv_usage_ratio: memoryview[float]
    kv_capacity_tokens: memoryview[float]
    prefix_hit_tokens: memoryview[float]
    prefix_query_tokens: memoryview[float]
    adapter_slots: memoryview[float]
    prefill_tokens_per_second: memoryview[float]
    engine_prefill_tokens_per_second: memoryview[float]
    engine_ttft_seconds: memoryview[float]
    engine_tpot_seconds: memoryview[float]
    polled_at_seconds: memoryview[float]
    ttft_seconds: memoryview[float]
    tpot_seconds: memoryview[float]
    decoded_tokens: memoryview[float]
    decoding_seconds: memoryview[float]
    decode_base_seconds: memoryview[float]
    decode_request_seconds: memoryview[float]

    def show(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """From now on these are the columns."""
        for name, column in columns.items():
            setattr(self, name, column.data)
