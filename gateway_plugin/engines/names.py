"""How each engine names what the pod table's columns hold.

Every column has its names by preference, newest generation first; the first one found on the page is read and the
others are not, because engines expose an old and a new name side by side while they rename. An engine that is not in
the table is read as vLLM, whose names many engines borrow.

Units: requests; a ratio 0 to 1 (also where the engine says "perc"); tokens since the engine's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Column = Literal["running_requests", "waiting_requests", "kv_usage_ratio", "prefix_hit_tokens", "prefix_query_tokens"]


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine's page is, and its metric names per column."""

    columns: Mapping[Column, tuple[bytes, ...]]
    path: str = "/metrics"


_VLLM = Engine(
    {
        "running_requests": (b"vllm:num_requests_running",),
        "waiting_requests": (b"vllm:num_requests_waiting",),
        "kv_usage_ratio": (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
        "prefix_hit_tokens": (b"vllm:prefix_cache_hits_total", b"vllm:gpu_prefix_cache_hits_total"),
        "prefix_query_tokens": (b"vllm:prefix_cache_queries_total", b"vllm:gpu_prefix_cache_queries_total"),
    }
)

_ENGINES: Mapping[str, Engine] = {
    "vllm": _VLLM,
    "sglang": Engine(
        {
            "running_requests": (b"sglang:num_running_reqs",),
            "waiting_requests": (b"sglang:num_queue_reqs",),
            "kv_usage_ratio": (b"sglang:token_usage",),
            "prefix_hit_tokens": (b"sglang:cached_tokens_total",),
            "prefix_query_tokens": (b"sglang:prompt_tokens_total",),
        }
    ),
    "trtllm": Engine(
        {
            "running_requests": (b"trtllm_num_requests_running",),
            "waiting_requests": (b"trtllm_num_requests_waiting",),
            "kv_usage_ratio": (b"trtllm_kv_cache_utilization",),
        },
        path="/prometheus/metrics",
    ),
    "xllm": Engine({"kv_usage_ratio": (b"kv_cache_utilization",)}),
}


def engine_named(name: str) -> Engine:
    """The engine of that name, vLLM for an unknown one."""
    return _ENGINES.get(name.lower(), _VLLM)
