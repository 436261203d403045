"""What the gateway's scraper would read off an engine's page, through the reader that the gateway uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.readings import Readings

if TYPE_CHECKING:
    from gateway_plugin.pods.engines.page import Samples
    from simulator import LeapingEngine


def readings() -> Readings:
    """For one gateway's polls of one pod."""
    return Readings(engine_named("vllm"))


def samples(engine: LeapingEngine) -> Samples:
    """What stands on the page, without the page; `render_metrics` writes the same numbers."""
    counters = engine.counters
    histograms = {
        b"vllm:time_to_first_token_seconds": counters.time_to_first_token_seconds,
        b"vllm:inter_token_latency_seconds": counters.inter_token_latency_seconds,
        b"vllm:request_prefill_time_seconds": counters.request_prefill_time_seconds,
    }
    page: Samples = {
        b"vllm:num_requests_running": len(engine.running),
        b"vllm:num_requests_waiting": len(engine.waiting),
        b"vllm:kv_cache_usage_perc": engine.cache.usage,
        b"vllm:cache_config_info": engine.config.num_blocks * engine.config.block_tokens,
        b"vllm:prefix_cache_hits_total": counters.prefix_cache_hits,
        b"vllm:prefix_cache_queries_total": counters.prefix_cache_queries,
        b"vllm:prompt_tokens_total": counters.prompt_tokens,
        b"vllm:lora_requests_info": engine.config.max_loras,
    }
    for name, histogram in histograms.items():
        page[name + b"_sum"], page[name + b"_count"] = histogram.sum, histogram.count
    return page
