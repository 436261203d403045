from __future__ import annotations

import math
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway_plugin.engines.names import engine_named
from gateway_plugin.engines.page import EngineMetrics, read_page

VLLM = engine_named("vllm")


def running(page: bytes) -> float | None:
    """What a page says of running requests: None for a page that says nothing."""
    metrics = read_page(page, VLLM)
    return None if metrics is None else metrics.running_requests


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
    assert read_page(page, VLLM) == EngineMetrics(8.0, 2.0, 0.5, 40.0, 1001000.0)


def test_an_older_vllm() -> None:
    page = b"vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_hits_total 1\nvllm:gpu_prefix_cache_queries_total 4\n"
    metrics = read_page(page, VLLM)
    assert metrics is not None
    assert (metrics.kv_usage_ratio, metrics.prefix_hit_tokens, metrics.prefix_query_tokens) == (0.5, 1.0, 4.0)
    assert math.isnan(metrics.running_requests)


def test_the_new_name_hides_the_old_one_beside_it() -> None:
    metrics = read_page(b"vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.25\n", VLLM)
    assert metrics is not None
    assert metrics.kv_usage_ratio == 0.25


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
"""
    metrics = read_page(page, engine_named("sglang"))
    assert metrics is not None
    assert metrics.kv_usage_ratio == pytest.approx(0.3)
    assert (metrics.running_requests, metrics.waiting_requests) == (6.0, 1.0)
    assert (metrics.prefix_hit_tokens, metrics.prefix_query_tokens) == (100.0, 400.0)


def test_trtllm_has_its_own_path_and_no_prefix_counters() -> None:
    engine = engine_named("trtllm")
    metrics = read_page(b"trtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.5\n", engine)
    assert metrics is not None
    assert (engine.path, metrics.running_requests, metrics.kv_usage_ratio) == ("/prometheus/metrics", 2.0, 0.5)
    assert math.isnan(metrics.prefix_hit_tokens)


def test_an_unknown_engine_is_read_as_vllm() -> None:
    assert engine_named("my-fork") is engine_named("vLLM")


NAMES = st.sampled_from(
    [
        "vllm:num_requests_running",
        "vllm:num_requests_running_by_reason",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits_total",
        "vllm:prefix_cache_queries_total",
        "other",
    ]
)
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


def full_parse(page: str, *names: str) -> list[float]:
    """The countable values of the first name that has any, by the reference parser."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    for name in names:
        values = [
            sample.value
            for sample in samples
            if sample.name == name and not sample.labels.get("priority") and 0 <= sample.value < math.inf
        ]
        if values:
            return values
    return []


@given(st.lists(SAMPLES.map(written) | COMMENTS, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_agrees_with_a_full_parse(lines: list[str], newline: str) -> None:
    page = newline.join([*lines, ""])
    metrics = read_page(page.encode(), VLLM) or EngineMetrics()

    def agrees(value: float, values: list[float], divisor: int = 1) -> bool:
        return value == pytest.approx(sum(values) / divisor) if values else math.isnan(value)

    usage = full_parse(page, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    hits = full_parse(page, "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
    assert agrees(metrics.running_requests, full_parse(page, "vllm:num_requests_running"))
    assert agrees(metrics.waiting_requests, full_parse(page, "vllm:num_requests_waiting"))
    assert agrees(metrics.kv_usage_ratio, usage, len(usage))
    assert agrees(metrics.prefix_hit_tokens, hits)
    assert agrees(metrics.prefix_query_tokens, full_parse(page, "vllm:prefix_cache_queries_total"))


@given(st.binary())
def test_any_bytes_are_survived(garbage: bytes) -> None:
    assert running(garbage.replace(b"vllm", b"") + b"\nvllm:num_requests_running 3\n" + garbage) == 3.0


def test_a_page_of_60_kilobytes_takes_less_than_half_a_millisecond() -> None:
    buckets = "".join(
        f'vllm:histogram_{number}_seconds_bucket{{engine="0",le="{bound}",model_name="meta-llama/Llama"}} 1.0\n'
        for number in range(30)
        for bound in range(25)
    )
    page = (
        buckets + "vllm:num_requests_running 1\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n"
    ).encode()
    assert len(page) > 60_000
    assert min(timeit.repeat(lambda: read_page(page, VLLM), number=1, repeat=50)) < 0.0005
