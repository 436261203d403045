"""The `/metrics` page, in the text form and under the names that vLLM uses.

Names changed over vLLM's generations: `v0` pages say `gpu_cache_usage_perc`, `gpu_prefix_cache_*` and
`time_per_output_token_seconds` and have no `engine` label; `v1` pages say `kv_cache_usage_perc`, `prefix_cache_*` and
`inter_token_latency_seconds`. `both` writes both, as the versions between did.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.config import SimulatedPod
    from simulator.counters import Histogram
    from simulator.engine import Engine
    from simulator.leaping import LeapingEngine
    from simulator.sequence import Sequence

Labels = dict[str, str]


def render(engine: Engine | LeapingEngine, pod: SimulatedPod, now_seconds: float, sleep_state: str = "awake") -> str:
    """`now_seconds` is Unix time: the value of `lora_requests_info`, which readers use to find the newest series."""
    labels = {"model_name": pod.model}
    if pod.metrics_generation != "v0":
        labels["engine"] = "0"
    lines: list[str] = []
    _gauges(lines, engine, pod, labels, sleep_state)
    _counters(lines, engine, pod, labels)
    _histograms(lines, engine, pod, labels)
    _infos(lines, engine, labels, now_seconds)
    return "\n".join(lines) + "\n"


def _in(pod: SimulatedPod, *, v0: str, v1: str) -> list[str]:
    """The names of one thing that this pod's generation writes."""
    return {"v0": [v0], "v1": [v1], "both": [v0, v1]}[pod.metrics_generation]


def _gauges(
    lines: list[str], engine: Engine | LeapingEngine, pod: SimulatedPod, labels: Labels, sleep_state: str
) -> None:
    def gauge(name: str, text: str, value: float) -> None:
        _family(lines, name, "gauge", text)
        lines.append(_sample(name, labels, value))

    gauge("num_requests_running", "Requests in the running batch.", len(engine.running))
    gauge("num_requests_waiting", "Requests in the queue.", len(engine.waiting))
    for name in _in(pod, v0="gpu_cache_usage_perc", v1="kv_cache_usage_perc"):
        gauge(name, "Share of KV blocks in use, 1 is all.", engine.cache.usage)
    _family(lines, "engine_sleep_state", "gauge", "1 in the state that the engine is in.")
    lines.extend(
        _sample("engine_sleep_state", {**labels, "sleep_state": state}, state == sleep_state)
        for state in ("awake", "weights_offloaded", "discard_all")
    )


def _counters(lines: list[str], engine: Engine | LeapingEngine, pod: SimulatedPod, labels: Labels) -> None:
    def counter(name: str, text: str, value: float) -> None:
        _family(lines, name, "counter", text)
        lines.append(_sample(name, labels, value))

    counters = engine.counters
    for name in _in(pod, v0="gpu_prefix_cache_queries_total", v1="prefix_cache_queries_total"):
        counter(name, "Prompt tokens looked up in the cache.", counters.prefix_cache_queries)
    for name in _in(pod, v0="gpu_prefix_cache_hits_total", v1="prefix_cache_hits_total"):
        counter(name, "Prompt tokens found in the cache.", counters.prefix_cache_hits)
    counter("prompt_tokens_total", "Prompt tokens processed.", counters.prompt_tokens)
    counter("generation_tokens_total", "Tokens generated.", counters.generation_tokens)
    counter("num_preemptions_total", "Sequences that lost their blocks.", counters.preemptions)
    _family(lines, "request_success_total", "counter", "Requests that ended, by reason.")
    for reason, count in counters.finished.items():
        lines.append(_sample("request_success_total", {**labels, "finished_reason": reason}, count))


def _histograms(lines: list[str], engine: Engine | LeapingEngine, pod: SimulatedPod, labels: Labels) -> None:
    counters = engine.counters
    per_token = _in(pod, v0="time_per_output_token_seconds", v1="inter_token_latency_seconds")
    for name in per_token:
        _histogram(lines, name, "Time between two tokens.", counters.inter_token_latency_seconds, labels)
    for name, text in (
        ("time_to_first_token_seconds", "Arrival to first token."),
        ("e2e_request_latency_seconds", "Arrival to last token."),
        ("request_queue_time_seconds", "Time in the queue."),
        ("request_inference_time_seconds", "Time from first scheduling to last token."),
        ("request_prefill_time_seconds", "Time from first scheduling to first token."),
        ("request_decode_time_seconds", "Time from first to last token."),
        ("request_prompt_tokens", "Tokens of a prompt."),
        ("request_generation_tokens", "Tokens of an answer."),
    ):
        _histogram(lines, name, text, getattr(counters, name), labels)


def _infos(lines: list[str], engine: Engine | LeapingEngine, labels: Labels, now_seconds: float) -> None:
    config = engine.config
    cache = {"block_size": str(config.block_tokens), "num_gpu_blocks": str(config.num_blocks)}
    if "engine" in labels:
        cache["engine"] = labels["engine"]
    _family(lines, "cache_config_info", "gauge", "The KV cache's configuration.")
    lines.append(_sample("cache_config_info", cache, 1))
    adapters = {
        "max_lora": str(config.max_loras),
        "running_lora_adapters": _adapters(engine.running),
        "waiting_lora_adapters": _adapters(engine.waiting),
    }
    _family(lines, "lora_requests_info", "gauge", "Adapters in use; the value is the time.")
    lines.append(_sample("lora_requests_info", adapters, now_seconds))


def _adapters(sequences: Iterable[Sequence]) -> str:
    return ",".join(sorted({sequence.request.adapter for sequence in sequences if sequence.request.adapter}))


def _histogram(lines: list[str], name: str, text: str, histogram: Histogram, labels: Labels) -> None:
    _family(lines, name, "histogram", text)
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        lines.append(_sample(f"{name}_bucket", {**labels, "le": bound}, count))
    lines.append(_sample(f"{name}_count", labels, histogram.count))
    lines.append(_sample(f"{name}_sum", labels, histogram.sum))


def _family(lines: list[str], name: str, kind: str, text: str) -> None:
    lines.append(f"# HELP vllm:{name} {text}")
    lines.append(f"# TYPE vllm:{name} {kind}")


def _sample(name: str, labels: Labels, value: float) -> str:
    written = ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels))
    return f"vllm:{name}{{{written}}} {float(value)!r}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
