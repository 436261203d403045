from __future__ import annotations

import re

import pytest

from simulator import Engine, EngineConfig, EngineRequest, MetricsGeneration, SimulatedPod, render_metrics

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]
SAMPLE = re.compile(r'^([a-z_:0-9]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\} (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def parse(text: str) -> Page:
    page: Page = {}
    family = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match is not None, line
            name, labels, value = match.groups()
            assert name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") == family
            key = name, frozenset(LABEL.findall(labels))
            assert key not in page
            page[key] = float(value)
    return page


def rendered(generation: MetricsGeneration, model: str = "m") -> Page:
    engine = Engine(EngineConfig(jitter=0.0))
    for adapter in (None, "z", "a"):
        hashes = tuple(range(63))
        engine.submit(
            EngineRequest(prompt_tokens=1000, output_tokens=10, block_hashes=hashes, adapter=adapter), now=0.0
        )
    engine.submit(EngineRequest(prompt_tokens=100, output_tokens=2), now=0.0)
    engine.advance(0.2)
    return parse(render_metrics(engine, SimulatedPod(name="p", model=model, metrics_generation=generation), 1234.5))


def names(page: Page) -> set[str]:
    return {name for name, _ in page}


def value(page: Page, name: str, **labels: str) -> float:
    return page[f"vllm:{name}", frozenset({"model_name": "m", **labels}.items())]


def test_values_of_a_current_page():
    page = rendered("v1")
    # One prompt of 1000 is computed and two reuse its 62 full blocks; 1116 tokens in one step, then decodes.
    assert value(page, "num_requests_running", engine="0") == 3
    assert value(page, "num_requests_waiting", engine="0") == 0
    assert value(page, "prompt_tokens_total", engine="0") == 3100
    assert value(page, "prefix_cache_queries_total", engine="0") == 3100
    assert value(page, "prefix_cache_hits_total", engine="0") == 2 * 992
    assert value(page, "request_success_total", engine="0", finished_reason="stop") == 1
    assert value(page, "request_success_total", engine="0", finished_reason="abort") == 0
    assert value(page, "kv_cache_usage_perc", engine="0") == pytest.approx((62 + 3) / 8192)
    ttft = 0.030 + 0.006 + 1116 * 0.000125
    assert value(page, "time_to_first_token_seconds_sum", engine="0") == pytest.approx(4 * ttft)
    assert value(page, "time_to_first_token_seconds_bucket", engine="0", le="0.1") == 0
    assert value(page, "time_to_first_token_seconds_bucket", engine="0", le="0.25") == 4
    assert value(page, "time_to_first_token_seconds_bucket", engine="0", le="+Inf") == 4
    assert page[
        "vllm:cache_config_info", frozenset({"block_size": "16", "num_gpu_blocks": "8192", "engine": "0"}.items())
    ]


def test_running_adapters_are_listed_with_the_time():
    labels = {"max_lora": "4", "running_lora_adapters": "a,z", "waiting_lora_adapters": ""}
    assert rendered("both")["vllm:lora_requests_info", frozenset(labels.items())] == 1234.5


OLD = {
    "vllm:gpu_cache_usage_perc",
    "vllm:gpu_prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_queries_total",
    "vllm:time_per_output_token_seconds_bucket",
}
NEW = {
    "vllm:kv_cache_usage_perc",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
    "vllm:inter_token_latency_seconds_bucket",
}


def test_generations_use_their_own_names():
    v0, v1, both = rendered("v0"), rendered("v1"), rendered("both")
    assert names(v0) >= OLD
    assert names(v1) >= NEW
    assert not names(v0) & NEW
    assert not names(v1) & OLD
    assert names(both) == names(v0) | names(v1)
    assert not any(key == "engine" for _, labels in v0 for key, _ in labels)


def test_labels_are_escaped():
    page = rendered("v0", model='a"b\\c')
    assert ("vllm:num_requests_running", frozenset({("model_name", 'a\\"b\\\\c')})) in page
