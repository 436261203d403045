"""How each engine names what the pod table's columns hold.

Every quantity has its names by preference, newest generation first; the first one found on the page is read and the
others are not, because engines expose an old and a new name side by side while they rename. An engine that is not in
the table is read as vLLM, whose names many engines borrow.

A name is written as on the page. With a label behind it, `name{label="value"}`, it means only the series with it.

Units: requests; seconds; a ratio 0 to 1 (also where the engine says "perc"); tokens, where counted since the engine's
start. Of prefix hits and queries only the ratio is used, so an engine may count both in blocks.

`docs/compatibility.md` shows the table by engine and column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Column = Literal[
    "running_requests",
    "waiting_requests",
    "kv_usage_ratio",
    "kv_capacity_tokens",
    "prefix_hit_tokens",
    "prefix_query_tokens",
    "adapter_slots",
]
MeanColumn = Literal["engine_ttft_seconds", "engine_tpot_seconds"]
Names = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prefill:
    """Counters of prefill work: `tokens` less `cached_tokens` were computed in `seconds`.

    `started` and `finished` are named where tokens count when a prefill ends but seconds when the request does: the
    numbers of requests behind either.
    """

    tokens: bytes
    seconds: bytes
    cached_tokens: bytes = b""
    started: bytes = b""
    finished: bytes = b""

    def names(self) -> Names:
        """All that must be on the page."""
        return tuple(filter(None, (self.tokens, self.seconds, self.cached_tokens, self.started, self.finished)))


@dataclass(frozen=True, eq=False)
class EngineNames:
    """Where an engine's page is, and its metric names."""

    columns: Mapping[Column, Names]
    """Read as they are."""
    means: Mapping[MeanColumn, Names] = field(default_factory=dict)
    """Histograms, without `_sum` and `_count`."""
    prefills: tuple[Prefill, ...] = ()
    products: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """Metrics whose value is the product of labels."""
    derived: Mapping[bytes, tuple[Callable[[Iterable[float]], float], Names]] = field(default_factory=dict)
    """What is made of several metrics, under a name of its own, when all of them are on the page."""
    awake: Names = ()
    """How many of the engine's ranks are awake; 0 is an engine that sleeps."""
    path: str = "/metrics"
    health_path: str = "/health"
    """Answers at once, and 503 by an engine that cannot generate."""

    def names(self) -> set[bytes]:
        """All that is looked for on the page."""
        parts = [parts for _, parts in self.derived.values()]
        return self.counters().union(*self.columns.values(), *parts, self.awake) - self.derived.keys()

    def counters(self) -> set[bytes]:
        """What only grows while the engine lives."""
        histograms = [name for names in self.means.values() for name in names]
        parts = {name + part for name in histograms for part in (b"_sum", b"_count")}
        return parts.union(*(prefill.names() for prefill in self.prefills))


def _vllm_prefill(cached_tokens: bytes) -> Prefill:
    return Prefill(
        tokens=b"vllm:prompt_tokens_total",
        cached_tokens=cached_tokens,
        seconds=b"vllm:request_prefill_time_seconds_sum",
        started=b"vllm:time_to_first_token_seconds_count",
        finished=b"vllm:request_prefill_time_seconds_count",
    )


_VLLM = EngineNames(
    {
        "running_requests": (b"vllm:num_requests_running",),
        "waiting_requests": (b"vllm:num_requests_waiting",),
        "kv_usage_ratio": (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
        "kv_capacity_tokens": (b"vllm:cache_config_info",),
        "prefix_hit_tokens": (b"vllm:prefix_cache_hits_total", b"vllm:gpu_prefix_cache_hits_total"),
        "prefix_query_tokens": (b"vllm:prefix_cache_queries_total", b"vllm:gpu_prefix_cache_queries_total"),
        "adapter_slots": (b"vllm:lora_requests_info",),
    },
    means={
        "engine_ttft_seconds": (b"vllm:time_to_first_token_seconds",),
        "engine_tpot_seconds": (b"vllm:inter_token_latency_seconds", b"vllm:time_per_output_token_seconds"),
    },
    prefills=(
        Prefill(
            tokens=b"vllm:request_prefill_kv_computed_tokens_sum",
            seconds=b"vllm:request_prefill_time_seconds_sum",
        ),
        _vllm_prefill(b"vllm:prefix_cache_hits_total"),
        _vllm_prefill(b"vllm:gpu_prefix_cache_hits_total"),
    ),
    products={
        b"vllm:cache_config_info": (b"num_gpu_blocks", b"block_size"),
        b"vllm:lora_requests_info": (b"max_lora",),
    },
    awake=(b'vllm:engine_sleep_state{sleep_state="awake"}',),
)

_SGLANG = EngineNames(
    {
        "running_requests": (b"sglang:num_running_reqs",),
        "waiting_requests": (b"sglang:num_queue_reqs",),
        "kv_usage_ratio": (b"sglang:token_usage",),
        "kv_capacity_tokens": (b"sglang:max_total_num_tokens", b"sglang:cache_config_info"),
        "prefix_hit_tokens": (b"sglang:cached_tokens_total",),
        "prefix_query_tokens": (b"sglang:prompt_tokens_total",),
    },
    means={
        "engine_ttft_seconds": (b"sglang:time_to_first_token_seconds",),
        "engine_tpot_seconds": (b"sglang:inter_token_latency_seconds", b"sglang:time_per_output_token_seconds"),
    },
    prefills=(
        Prefill(
            tokens=b'sglang:realtime_tokens_total{mode="prefill_compute"}',
            seconds=b'sglang:per_stage_req_latency_seconds_sum{stage="prefill_forward"}',
        ),
    ),
    products={b"sglang:cache_config_info": (b"num_pages", b"page_size")},
)

_TRTLLM = EngineNames(
    {
        "running_requests": (b"trtllm_num_requests_running",),
        "waiting_requests": (b"trtllm_num_requests_waiting",),
        "kv_usage_ratio": (b"trtllm_kv_cache_utilization",),
        "prefix_hit_tokens": (b"trtllm_kv_cache_reused_blocks_total",),
        "prefix_query_tokens": (b"trtllm_kv_cache_asked_blocks",),
    },
    means={
        "engine_ttft_seconds": (b"trtllm_time_to_first_token_seconds",),
        "engine_tpot_seconds": (b"trtllm_time_per_output_token_seconds",),
    },
    derived={
        b"trtllm_kv_cache_asked_blocks": (
            sum,
            (b"trtllm_kv_cache_reused_blocks_total", b"trtllm_kv_cache_missed_blocks_total"),
        )
    },
    path="/prometheus/metrics",
)


def _triton(family: bytes, kind: bytes, value: bytes) -> bytes:
    return b'nv_trt_llm_%b_metrics{%b="%b"}' % (family, kind, value)


# TensorRT-LLM as a backend of Triton, behind Triton's OpenAI frontend.
_TRITON = EngineNames(
    {
        "running_requests": (_triton(b"request", b"request_type", b"scheduled"),),
        "waiting_requests": (_triton(b"request", b"request_type", b"waiting"),),
        "kv_usage_ratio": (_triton(b"kv_cache_block", b"kv_cache_block_type", b"fraction"),),
        "kv_capacity_tokens": (b"nv_trt_llm_kv_cache_tokens",),
    },
    derived={
        b"nv_trt_llm_kv_cache_tokens": (
            math.prod,
            (
                _triton(b"kv_cache_block", b"kv_cache_block_type", b"max"),
                _triton(b"kv_cache_block", b"kv_cache_block_type", b"tokens_per"),
            ),
        )
    },
    health_path="/health/ready",
)

_TGI = EngineNames(
    {"running_requests": (b"tgi_batch_current_size",), "waiting_requests": (b"tgi_queue_size",)},
    means={"engine_tpot_seconds": (b"tgi_request_mean_time_per_token_duration",)},
)

_LLAMA_CPP = EngineNames(
    {
        "running_requests": (b"llamacpp:requests_processing",),
        "waiting_requests": (b"llamacpp:requests_deferred",),
        "kv_usage_ratio": (b"llamacpp:kv_cache_usage_ratio",),
        "prefix_hit_tokens": (b"llamacpp:prompt_tokens_cached_total",),
        "prefix_query_tokens": (b"llamacpp:prompt_tokens_asked",),
    },
    prefills=(Prefill(tokens=b"llamacpp:prompt_tokens_total", seconds=b"llamacpp:prompt_seconds_total"),),
    derived={
        b"llamacpp:prompt_tokens_asked": (
            sum,
            (b"llamacpp:prompt_tokens_total", b"llamacpp:prompt_tokens_cached_total"),
        )
    },
)

_LMDEPLOY = EngineNames(
    {
        "running_requests": (b"lmdeploy:num_requests_running",),
        "waiting_requests": (b"lmdeploy:num_requests_waiting",),
        "kv_usage_ratio": (b"lmdeploy:gpu_cache_usage_perc",),
    },
    means={
        "engine_ttft_seconds": (b"lmdeploy:time_to_first_token_seconds",),
        "engine_tpot_seconds": (b"lmdeploy:iter_token_latency", b"lmdeploy:time_per_output_token_seconds"),
    },
)


def _dynamo() -> EngineNames:
    """A worker says what its engine says, a frontend what it sees of its workers.

    A frontend's queue is part of what it says is in flight, and is not counted again.
    """
    engines = (_VLLM, _SGLANG, _TRTLLM)
    columns: dict[Column, Names] = {}
    means: dict[MeanColumn, Names] = {}
    for engine in engines:
        for column, names in engine.columns.items():
            columns[column] = columns.get(column, ()) + names
        for mean, names in engine.means.items():
            means[mean] = means.get(mean, ()) + names
    columns["running_requests"] += (
        b'dynamo_component_inflight_requests{dynamo_endpoint="generate"}',
        b"dynamo_frontend_inflight_requests",
    )
    columns["kv_usage_ratio"] += (
        b"dynamo_component_gpu_cache_usage_percent",
        b"dynamo_component_kvstats_gpu_cache_usage_percent",
    )
    means["engine_ttft_seconds"] += (b"dynamo_frontend_time_to_first_token_seconds",)
    means["engine_tpot_seconds"] += (b"dynamo_frontend_inter_token_latency_seconds",)
    return EngineNames(
        columns,
        means,
        prefills=tuple(prefill for engine in engines for prefill in engine.prefills),
        products={**_VLLM.products, **_SGLANG.products},
        derived=_TRTLLM.derived,
        awake=_VLLM.awake,
    )


_ENGINES: Mapping[str, EngineNames] = {
    "vllm": _VLLM,
    "sglang": _SGLANG,
    "trtllm": _TRTLLM,
    "triton": _TRITON,
    "tgi": _TGI,
    "llamacpp": _LLAMA_CPP,
    "lmdeploy": _LMDEPLOY,
    "dynamo": _dynamo(),
    # Has no metrics page; /api/version is the one path that answers without loading a model.
    "ollama": EngineNames({}, health_path="/api/version"),
    "xllm": EngineNames({"kv_usage_ratio": (b"kv_cache_utilization",)}),
}
_ALSO_CALLED = {
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "tensorrt-llm": "trtllm",
    "text-generation-inference": "tgi",
    "triton-tensorrt-llm": "triton",
    "trtllm-serve": "trtllm",
}
KNOWN_ENGINES = tuple(_ENGINES)
ENGINE_NAMES = frozenset((*_ENGINES, *_ALSO_CALLED))
"""All that an engine may be called, in lower case."""


def engine_named(name: str) -> EngineNames:
    """The engine of that name, vLLM for an unknown one."""
    name = name.lower()
    return _ENGINES.get(_ALSO_CALLED.get(name, name), _VLLM)
