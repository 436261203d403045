"""An engine's page under AIBrix's names, of both its generations, with the engine's own kept beside them.

A counter's family is `x_total` on the page in the text form; in OpenMetrics it is `x`. Both are read, and both are
written as `x_total`. Every engine gets `aibrix:kv_cache_usage_ratio`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VLLM: Mapping[str, tuple[str, ...]] = {
    "vllm:num_requests_waiting": ("aibrix:queue_size",),
    "vllm:num_requests_running": ("aibrix:num_requests_running",),
    "vllm:gpu_cache_usage_perc": ("aibrix:gpu_cache_usage_perc", "aibrix:kv_cache_usage_ratio"),
    "vllm:kv_cache_usage_perc": ("aibrix:kv_cache_usage_perc", "aibrix:kv_cache_usage_ratio"),
    "vllm:time_to_first_token_seconds": ("aibrix:time_to_first_token_seconds",),
    "vllm:time_per_output_token_seconds": ("aibrix:time_per_output_token_seconds", "aibrix:time_per_output_token"),
    "vllm:inter_token_latency_seconds": ("aibrix:time_per_output_token_seconds", "aibrix:time_per_output_token"),
    "vllm:e2e_request_latency_seconds": ("aibrix:e2e_request_latency_seconds", "aibrix:e2e_request_latency"),
    "vllm:prompt_tokens": ("aibrix:prompt_tokens",),
    "vllm:generation_tokens": ("aibrix:generation_tokens",),
    "vllm:request_success": ("aibrix:request_success",),
}
_SGLANG: Mapping[str, tuple[str, ...]] = {
    "sglang:num_queue_reqs": ("aibrix:queue_size",),
    "sglang:num_running_reqs": ("aibrix:num_requests_running",),
    "sglang:token_usage": ("aibrix:token_usage", "aibrix:kv_cache_usage_ratio"),
    "sglang:cache_hit_rate": ("aibrix:cache_hit_rate",),
    "sglang:gen_throughput": ("aibrix:generation_throughput",),
    "sglang:time_to_first_token_seconds": ("aibrix:time_to_first_token_seconds",),
    "sglang:time_per_output_token_seconds": ("aibrix:time_per_output_token_seconds", "aibrix:time_per_output_token"),
    "sglang:inter_token_latency_seconds": ("aibrix:time_per_output_token_seconds", "aibrix:time_per_output_token"),
    "sglang:e2e_request_latency_seconds": ("aibrix:e2e_request_latency_seconds", "aibrix:e2e_request_latency"),
    "sglang:prompt_tokens": ("aibrix:prompt_tokens",),
    "sglang:generation_tokens": ("aibrix:generation_tokens",),
    "sglang:num_requests": ("aibrix:request_success",),
}
_USAGE = ("aibrix:kv_cache_usage_perc", "aibrix:kv_cache_usage_ratio")
_TRTLLM: Mapping[str, tuple[str, ...]] = {
    f"{prefix}{name}": names
    for prefix in ("", "trtllm_")
    for name, names in (
        ("kv_cache_utilization", _USAGE),
        ("kv_cache_hit_rate", ("aibrix:cache_hit_rate",)),
        ("num_requests_waiting", ("aibrix:queue_size",)),
        ("num_requests_running", ("aibrix:num_requests_running",)),
        ("time_to_first_token_seconds", ("aibrix:time_to_first_token_seconds",)),
        ("time_per_output_token_seconds", ("aibrix:time_per_output_token_seconds", "aibrix:time_per_output_token")),
        ("e2e_request_latency_seconds", ("aibrix:e2e_request_latency_seconds", "aibrix:e2e_request_latency")),
        ("request_success", ("aibrix:request_success",)),
    )
}
RENAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"vllm": _VLLM, "sglang": _SGLANG, "trtllm": _TRTLLM}

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(.*)", re.DOTALL)
_COUNTERS = ("prompt_tokens", "generation_tokens", "request_success", "num_requests")
_COUNTER_ENDS = ("_total", "_created")
_HISTOGRAM_ENDS = ("_bucket", "_sum", "_count", "_created")


def normalised(page: str, engine: str) -> str:
    """The page, and below it what AIBrix calls the same. An unknown engine's page as it is.

    Where an engine shows an old and a new name of one quantity, the first on the page is renamed, so no series of the
    new name stands twice.
    """
    rules = RENAMES.get(engine, {})
    blocks: dict[str, list[str]] = {}
    origin: dict[str, str] = {}
    for line in page.splitlines():
        found = _family(line, rules)
        if found is None:
            continue
        family, prefix, rest = found
        for name in rules[family]:
            if origin.setdefault(name, family) == family:
                blocks.setdefault(name, []).append(prefix + name + rest)
    ours = [line for lines in blocks.values() for line in lines]
    head = page.removesuffix("# EOF\n").rstrip("\n")
    return "\n".join([head, *ours]) + "\n" if ours else page


def _family(line: str, rules: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str] | None:
    """Of a line that has a rule: its family, what stands before the name, and what behind the family's name."""
    prefix = next((mark for mark in ("# HELP ", "# TYPE ") if line.startswith(mark)), "")
    if line.startswith("#") and not prefix:
        return None
    sample = _SAMPLE.fullmatch(line[len(prefix) :])
    if sample is None:
        return None
    name, rest = sample[1], sample[2]
    for end in ("", *_COUNTER_ENDS, *_HISTOGRAM_ENDS):
        family = name.removesuffix(end)
        if name.endswith(end) and family in rules:
            # OpenMetrics names the family without it, and our page is in the text form.
            counts = prefix and not end and family.rpartition(":")[2].removeprefix("trtllm_") in _COUNTERS
            return family, prefix, ("_total" if counts else end) + rest
    return None
