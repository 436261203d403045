from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import read_page

VLLM = engine_named("vllm")


def running(page: bytes) -> float | None:
    """What a page says of running requests: None for a page that does not name them."""
    return read_page(page, VLLM).get(b"vllm:num_requests_running")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"vllm:num_requests_running 3", 3.0),
        (b"vllm:num_requests_running 3.0\n", 3.0),
        (b"a 1\r\nvllm:num_requests_running 3.0\r\nb 2\r\n", 3.0),
        (b"vllm:num_requests_running\t3 1700000000000\n", 3.0),
        (b"vllm:num_requests_running{} 3\n", 3.0),
        (b'vllm:num_requests_running {m="x"} 3\n', 3.0),
        (b'vllm:num_requests_running{m="x"}3\n', 3.0),
        (b'vllm:num_requests_running{m="a } 9",n="\\"{"} 3e0\n', 3.0),
        (b'vllm:num_requests_running{m="\xc3\xa9"} 3\n', 3.0),
        # Data-parallel ranks add up.
        (b'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running{engine="1"} 4\n', 7.0),
        (b"vllm:num_requests_running 1\n\nx 1\nvllm:num_requests_running 2", 3.0),
        # What is no number of requests is left out.
        (b"vllm:num_requests_running NaN\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running +Inf\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running -1\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running{ 9 9 9\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running three\nvllm:num_requests_running 3\n", 3.0),
        (b"vllm:num_requests_running_total 9\nvllm:num_requests_running 3\n", 3.0),
        (b"x_vllm:num_requests_running 9\nvllm:num_requests_running 3\n", 3.0),
        (b"# HELP vllm:num_requests_running 9\n# TYPE vllm:num_requests_running gauge\n", None),
        (b"vllm:num_requests_running NaN\n", None),
        (b"vllm:num_requests_running", None),
        (b"", None),
        (b"<html>\n<body>404</body>", None),
        (b"\xff\x00\n\n\n", None),
    ],
)
def test_lines(page: bytes, expected: float | None) -> None:
    assert running(page) == expected


def test_vllm_page() -> None:
    page = b"""# TYPE vllm:kv_cache_usage_perc gauge
vllm:num_requests_running{engine="0"} 3.0
vllm:num_requests_running{engine="1"} 5.0
vllm:num_requests_waiting{engine="0"} 0.0
vllm:num_requests_waiting{engine="1"} 2.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:prefix_cache_queries_total{engine="0"} 1e+06
vllm:prefix_cache_queries_total{engine="1"} 1000.0
vllm:prefix_cache_queries_created{engine="0"} 1.7e+09
vllm:prefix_cache_hits_total{engine="0"} 10.0
vllm:prefix_cache_hits_total{engine="1"} 30.0
"""
    assert read_page(page, VLLM) == {
        b"vllm:num_requests_running": 8.0,
        b"vllm:num_requests_waiting": 2.0,
        b"vllm:kv_cache_usage_perc": 0.5,
        b"vllm:prefix_cache_queries_total": 1001000.0,
        b"vllm:prefix_cache_hits_total": 40.0,
    }


def test_nothing_known_is_an_empty_answer() -> None:
    assert read_page(b"python_gc_objects_collected_total 3\n", VLLM) == {}


def test_a_histogram_is_its_sum_and_count() -> None:
    page = b"""# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 4.0
vllm:time_to_first_token_seconds_count{engine="0"} 4.0
vllm:time_to_first_token_seconds_sum{engine="0"} 1.5
vllm:time_to_first_token_seconds_created{engine="0"} 1.7e+09
"""
    assert read_page(page, VLLM) == {
        b"vllm:time_to_first_token_seconds_count": 4.0,
        b"vllm:time_to_first_token_seconds_sum": 1.5,
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (['block_size="16",num_gpu_blocks="573"'], 9168.0),
        (['num_gpu_blocks="573",engine="0",block_size="16",cache_dtype="auto"'], 9168.0),
        # Labels whose names end alike, and come first.
        (
            [
                'mamba_block_size="7",block_size="16",cpu_num_gpu_blocks="9",num_gpu_blocks="10",num_gpu_blocks_override="3"'
            ],
            160.0,
        ),
        # Data-parallel ranks add up.
        (['block_size="16",engine="0",num_gpu_blocks="10"', 'block_size="16",engine="1",num_gpu_blocks="20"'], 480.0),
        (['block_size="16",num_gpu_blocks="None"'], None),
        (['block_size="16"'], None),
        (['block_size="16",num_gpu_blocks="-5"'], None),
    ],
)
def test_the_kv_capacity_is_in_the_labels(labels: list[str], expected: float | None) -> None:
    page = "".join(f"vllm:cache_config_info{{{each}}} 1.0\n" for each in labels).encode()
    assert read_page(page, VLLM).get(b"vllm:cache_config_info") == expected


def test_sglang_page_with_priorities_ranks_and_cache_sources() -> None:
    page = b"""sglang:num_running_reqs{dp_rank="0",priority=""} 4.0
sglang:num_running_reqs{dp_rank="0",priority="1"} 3.0
sglang:num_running_reqs{priority="0",dp_rank="0"} 1.0
sglang:num_running_reqs{dp_rank="1",priority=""} 2.0
sglang:num_queue_reqs{model_name="m"} 1.0
sglang:num_queue_reqs_total{model_name="m"} 9.0
sglang:token_usage{dp_rank="0"} 0.2
sglang:token_usage{dp_rank="1"} 0.4
sglang:cached_tokens_total{cache_source="device"} 70.0
sglang:cached_tokens_total{cache_source="host"} 30.0
sglang:prompt_tokens_total{} 400.0
sglang:cache_config_info{num_pages="1000",page_size="64"} 1.0
sglang:realtime_tokens_total{mode="prefill_compute"} 300.0
sglang:realtime_tokens_total{mode="prefill_cache"} 100.0
sglang:realtime_tokens_total{mode="decode"} 50.0
sglang:per_stage_req_latency_seconds_sum{stage="prefill_waiting",tp_rank="0"} 7.0
sglang:per_stage_req_latency_seconds_sum{stage="prefill_forward",tp_rank="0"} 0.5
"""
    assert read_page(page, engine_named("sglang")) == {
        b"sglang:num_running_reqs": 6.0,
        b"sglang:num_queue_reqs": 1.0,
        b"sglang:token_usage": pytest.approx(0.3),
        b"sglang:cached_tokens_total": 100.0,
        b"sglang:prompt_tokens_total": 400.0,
        b"sglang:cache_config_info": 64_000.0,
        b'sglang:realtime_tokens_total{mode="prefill_compute"}': 300.0,
        b'sglang:per_stage_req_latency_seconds_sum{stage="prefill_forward"}': 0.5,
    }


def test_trtllm_has_its_own_path() -> None:
    engine = engine_named("trtllm")
    assert engine.path == "/prometheus/metrics"
    page = b"trtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.5\n"
    assert read_page(page, engine) == {b"trtllm_num_requests_running": 2.0, b"trtllm_kv_cache_utilization": 0.5}


def test_an_unknown_engine_is_read_as_vllm() -> None:
    assert engine_named("my-fork") is engine_named("vLLM")


KNOWN = [
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:prefix_cache_hits_total",
    "vllm:time_to_first_token_seconds_sum",
]
NAMES = st.sampled_from([*KNOWN, "vllm:num_requests_running_by_reason", "other"])
LABEL_VALUES = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from('\\"{}=,# '), max_size=6)
LABELS = st.dictionaries(st.sampled_from(["engine", "priority", "model_name"]), LABEL_VALUES, max_size=3)
VALUES = st.floats(width=32).map(repr) | st.integers(-5, 10**9).map(str) | st.sampled_from(["NaN", "+Inf", "-Inf"])
SAMPLES = st.tuples(NAMES, LABELS, VALUES, st.sampled_from(["", " 1700000000000"]))
COMMENTS = st.sampled_from(["# HELP vllm:num_requests_running 7", "# a comment", "", "# TYPE other counter"])


def written(sample: tuple[str, dict[str, str], str, str]) -> str:
    name, labels, value, timestamp = sample
    escaped = {key: text.replace("\\", "\\\\").replace('"', '\\"') for key, text in labels.items()}
    inner = ",".join(f'{key}="{text}"' for key, text in escaped.items())
    return f"{name}{{{inner}}} {value}{timestamp}" if labels else f"{name} {value}{timestamp}"


def full_parse(page: str, name: str) -> list[float]:
    """The countable values of a name, by the reference parser."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return [
        sample.value
        for sample in samples
        if sample.name == name and not sample.labels.get("priority") and 0 <= sample.value < math.inf
    ]


@given(st.lists(SAMPLES.map(written) | COMMENTS, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_agrees_with_a_full_parse(lines: list[str], newline: str) -> None:
    page = newline.join([*lines, ""])
    samples = read_page(page.encode(), VLLM)
    for name in KNOWN:
        values = full_parse(page, name)
        total = sum(values) / len(values) if values and name.endswith("_perc") else sum(values)
        assert samples.get(name.encode()) == (pytest.approx(total) if values else None)


@given(st.binary())
def test_any_bytes_are_survived(garbage: bytes) -> None:
    assert running(garbage.replace(b"vllm", b"") + b"\nvllm:num_requests_running 3\n" + garbage) == 3.0


def test_every_name_is_found_among_80_kilobytes() -> None:
    names = sorted(name.decode() for name in VLLM.counters().union(*VLLM.columns.values()))
    buckets = "".join(
        f'{name}_bucket{{engine="0",le="{bound}",model_name="meta-llama/Llama-3.1"}} 1.0\n'
        for name in names
        for bound in range(42)
    )
    values = "".join(f'{name}{{engine="0",block_size="16",num_gpu_blocks="9",max_lora="4"}} 2.0\n' for name in names)
    page = (buckets + values).encode()
    assert 75_000 < len(page) < 90_000
    assert len(read_page(page, VLLM)) == len(names)
