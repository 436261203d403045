"""Pages with the names that engines really write, of our own making: each row of the table in docs/compatibility.md."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway_plugin.pods.engines.metric_names import KNOWN_ENGINES, engine_named
from gateway_plugin.pods.engines.page import read_page
from gateway_plugin.pods.engines.readings import Readings

TABLE = Path(__file__).parents[5] / "docs/compatibility.md"
SHORT = {
    "running_requests": "running",
    "waiting_requests": "waiting",
    "kv_usage_ratio": "KV usage",
    "kv_capacity_tokens": "KV capacity",
    "prefix_hit_tokens": "prefix hits",
    "prefix_query_tokens": "prefix hits",
    "engine_ttft_seconds": "TTFT",
    "engine_tpot_seconds": "TPOT",
    "engine_prefill_tokens_per_second": "prefill rate",
    "adapter_slots": "LoRA slots",
}
RANK = 'model_name="m",engine_type="unified",pp_rank="0",moe_ep_rank="0",'


def sglang(prefix: str, *labels: str) -> str:
    rows = [f"{{{RANK}{label}}}" for label in labels]
    figures = {"num_running_reqs": 4, "num_queue_reqs": 2, "token_usage": 0.5, "max_total_num_tokens": 1000}
    lines = [f"{prefix}{name}{row} {value}" for name, value in figures.items() for row in rows]
    shared = {"cached_tokens_total": 30, "prompt_tokens_total": 90}
    return "\n".join([*lines, *(f'{prefix}{name}{{model_name="m"}} {value}' for name, value in shared.items())])


def histogram(name: str, total: float, count: int) -> str:
    return f'{name}_sum{{a="b"}} {total}\n{name}_count{{a="b"}} {count}\n'


def vllm(prefix: str, usage: str, cache: str, tpot: str, computed: bool) -> tuple[str, str]:
    labels = '{engine="0",model_name="m"}'
    first = f"""{prefix}num_requests_running{labels} 4
{prefix}num_requests_waiting{labels} 2
{prefix}{usage}{labels} 0.5
{prefix}{cache}_hits_total{labels} 30
{prefix}{cache}_queries_total{labels} 90
{prefix}cache_config_info{{block_size="16",engine="0",num_gpu_blocks="100"}} 1
{prefix}lora_requests_info{{max_lora="3",running_lora_adapters="a,b",waiting_lora_adapters=""}} 1764000000.5
{prefix}lora_requests_info{{max_lora="3",running_lora_adapters="",waiting_lora_adapters=""}} 1764000009.5
"""
    prefill = f"{prefix}request_prefill_kv_computed_tokens" if computed else f"{prefix}ignored"

    def counters(n: int) -> str:
        return (
            histogram(f"{prefix}time_to_first_token_seconds", n, 10 * n)
            + histogram(f"{prefix}{tpot}", 0.02 * n, n)
            + histogram(prefill, 5000 * n, 10 * n)
            + histogram(f"{prefix}request_prefill_time_seconds", 10 * n, 10 * n)
            + f"{prefix}prompt_tokens_total{labels} {5000 * n}\n"
        )

    return first + counters(1), first + counters(2)


GAUGES = {"running_requests": 4.0, "waiting_requests": 2.0, "kv_usage_ratio": 0.5}
HITS = {"prefix_hit_tokens": 30.0, "prefix_query_tokens": 90.0}
TIMES = {"engine_ttft_seconds": 0.1, "engine_tpot_seconds": 0.02}
RATE = {"engine_prefill_tokens_per_second": 500.0}
VLLM = GAUGES | HITS | TIMES | RATE | {"kv_capacity_tokens": 1600.0, "adapter_slots": 3.0}
# What grew between two pages, where they tell times between tokens.
GROWN = {"decoding_seconds": 0.02, "decoded_tokens": 1.0}
SGLANG = GAUGES | HITS | {"kv_capacity_tokens": 1000.0}


def times(ttft: str, tpot: str, n: int) -> str:
    return (histogram(ttft, n, 10 * n) if ttft else "") + histogram(tpot, 0.02 * n, n)


def twice(page: str) -> tuple[str, str]:
    return page, page


TRTLLM = "".join(
    f'trtllm_{name}{{engine_type="trtllm",model_name="m"}} {value}\n'
    for name, value in {
        "num_requests_running": 4,
        "num_requests_waiting": 2,
        "kv_cache_utilization": 0.5,
        "kv_cache_reused_blocks_total": 30,
        "kv_cache_missed_blocks_total": 60,
        "kv_cache_hit_rate": 0.33,
    }.items()
)
TRTLLM_TIMES = ("trtllm_time_to_first_token_seconds", "trtllm_time_per_output_token_seconds")
TRITON = "".join(
    f'nv_trt_llm_{family}_metrics{{{label}="{kind}",model="tensorrt_llm",version="1"}} {value}\n'
    for family, label, kind, value in [
        ("request", "request_type", "waiting", 2),
        ("request", "request_type", "context", 1),
        ("request", "request_type", "scheduled", 4),
        ("request", "request_type", "max", 512),
        ("request", "request_type", "active", 6),
        ("kv_cache_block", "kv_cache_block_type", "fraction", 0.5),
        ("kv_cache_block", "kv_cache_block_type", "tokens_per", 64),
        ("kv_cache_block", "kv_cache_block_type", "used", 50),
        ("kv_cache_block", "kv_cache_block_type", "free", 50),
        ("kv_cache_block", "kv_cache_block_type", "max", 100),
    ]
)
LMDEPLOY = "".join(
    f'lmdeploy:{name}{{engine="{rank}",model_name="m"}} {value}\n'
    for rank in (0, 1)
    for name, value in {
        "num_requests_running": 2,
        "num_requests_waiting": 1,
        "gpu_cache_usage_perc": 0.5,
        "num_api_requests_waiting": 7,
    }.items()
)
LMDEPLOY_TIMES = ("lmdeploy:time_to_first_token_seconds", "lmdeploy:iter_token_latency")
LLAMA = "llamacpp:requests_processing 4\nllamacpp:requests_deferred 2\n"
LLAMA_OLD = LLAMA + "llamacpp:kv_cache_usage_ratio 0.5\nllamacpp:kv_cache_tokens 800\n"
DYNAMO_WORKER = """dynamo_component_inflight_requests{dynamo_endpoint="generate"} 4
dynamo_component_inflight_requests{dynamo_endpoint="clear_kv_blocks"} 9
dynamo_component_gpu_cache_usage_percent{dynamo_component="backend"} 0.5
"""
DYNAMO_FRONTEND = 'dynamo_frontend_inflight_requests{model="m"} 4\ndynamo_frontend_queued_requests{model="m"} 2\n'
DYNAMO_TIMES = ("dynamo_frontend_time_to_first_token_seconds", "dynamo_frontend_inter_token_latency_seconds")


def llama(n: int) -> str:
    return LLAMA + f"llamacpp:prompt_tokens_total {5000 * n}\nllamacpp:prompt_seconds_total {10 * n}\n"


ROWS: dict[str, tuple[str, tuple[str, str], dict[str, float]]] = {
    "vLLM 0.9 and later": (
        "vllm",
        vllm("vllm:", "kv_cache_usage_perc", "prefix_cache", "inter_token_latency_seconds", True),
        VLLM,
    ),
    "vLLM 0.6 to 0.8": (
        "vllm",
        vllm("vllm:", "gpu_cache_usage_perc", "gpu_prefix_cache", "time_per_output_token_seconds", False),
        VLLM,
    ),
    "vLLM through OpenTelemetry or Ray": (
        "vllm",
        vllm("vllm_", "kv_cache_usage_perc", "prefix_cache", "inter_token_latency_seconds", True),
        VLLM,
    ),
    "SGLang": ("sglang", twice(sglang("sglang:", 'tp_rank="0"')), SGLANG),
    "SGLang, metrics of all schedulers": (
        "sglang",
        twice(sglang("sglang:", 'tp_rank="0"', 'tp_rank="1"')),
        SGLANG,
    ),
    "SGLang, data-parallel attention": (
        "sglang",
        twice(sglang("sglang:", *[f'tp_rank="{rank}",dp_rank="{rank // 2}"' for rank in range(4)])),
        SGLANG | {"running_requests": 8.0, "waiting_requests": 4.0, "kv_capacity_tokens": 2000.0},
    ),
    "SGLang through OpenTelemetry": ("sglang", twice(sglang("sglang_", 'tp_rank="0"')), SGLANG),
    "trtllm-serve 1.0 and later": (
        "trtllm-serve",
        (TRTLLM + times(*TRTLLM_TIMES, 1), TRTLLM + times(*TRTLLM_TIMES, 2)),
        GAUGES | HITS | TIMES,
    ),
    "Triton, TensorRT-LLM backend 23.11 and later": ("triton", twice(TRITON), GAUGES | {"kv_capacity_tokens": 6400.0}),
    "TGI 2 and 3": (
        "tgi",
        (
            "tgi_batch_current_size 4\ntgi_queue_size 2\n" + times("", "tgi_request_mean_time_per_token_duration", 1),
            "tgi_batch_current_size 4\ntgi_queue_size 2\n" + times("", "tgi_request_mean_time_per_token_duration", 2),
        ),
        GAUGES | {"kv_usage_ratio": math.nan, "engine_tpot_seconds": 0.02},
    ),
    "llama.cpp, with cached tokens": (
        "llama.cpp",
        tuple(llama(n) + f"llamacpp:prompt_tokens_cached_total {1000 * n}\n" for n in (1, 2)),  # type: ignore[dict-item]
        GAUGES | RATE | {"kv_usage_ratio": math.nan, "prefix_hit_tokens": 2000.0, "prefix_query_tokens": 12_000.0},
    ),
    "llama.cpp until 2025": ("llamacpp", twice(LLAMA_OLD), GAUGES),
    "LMDeploy": (
        "lmdeploy",
        (LMDEPLOY + times(*LMDEPLOY_TIMES, 1), LMDEPLOY + times(*LMDEPLOY_TIMES, 2)),
        GAUGES | TIMES,
    ),
    "Dynamo worker, of vLLM": (
        "dynamo",
        tuple(  # type: ignore[dict-item]
            DYNAMO_WORKER + page
            for page in vllm("vllm:", "kv_cache_usage_perc", "prefix_cache", "inter_token_latency_seconds", True)
        ),
        VLLM,
    ),
    "Dynamo worker, its own names": ("dynamo", twice(DYNAMO_WORKER), GAUGES | {"waiting_requests": math.nan}),
    "Dynamo frontend": (
        "dynamo",
        (DYNAMO_FRONTEND + times(*DYNAMO_TIMES, 1), DYNAMO_FRONTEND + times(*DYNAMO_TIMES, 2)),
        {"running_requests": 4.0, "waiting_requests": math.nan, "kv_usage_ratio": math.nan} | TIMES,
    ),
    "xLLM": ("xllm", twice("kv_cache_utilization 0.5\n"), dict.fromkeys(GAUGES, math.nan) | {"kv_usage_ratio": 0.5}),
}


@pytest.mark.parametrize(("engine", "pages", "expected"), ROWS.values(), ids=ROWS)
def test_what_is_read(engine: str, pages: tuple[str, str], expected: dict[str, float]) -> None:
    readings = Readings(engine_named(engine))
    read: dict[str, float] = {}
    for page in pages:
        read = readings.add(read_page(page.encode(), engine_named(engine)))
    grown = GROWN if "engine_tpot_seconds" in expected else {}
    assert read == pytest.approx(expected | grown, nan_ok=True)


@pytest.mark.parametrize("row", ROWS)
def test_the_table_in_the_docs_says_the_same(row: str) -> None:
    known = {SHORT[column] for column, value in ROWS[row][2].items() if not math.isnan(value)}
    line = next(line for line in TABLE.read_text().splitlines() if line.startswith(f"| {row} |"))
    header = next(line for line in TABLE.read_text().splitlines() if line.startswith("| engine |"))
    cells = dict(zip(header.split("|")[1:-1], line.split("|")[1:-1], strict=True))
    assert {name.strip() for name, cell in cells.items() if cell.strip() == "yes"} == known


def test_every_engine_has_a_row() -> None:
    assert {engine_named(engine) for engine, _, _ in ROWS.values()} == {
        engine_named(engine) for engine in KNOWN_ENGINES if engine_named(engine).columns
    }


@pytest.mark.parametrize("zeros_first", [False, True])
def test_a_process_that_knows_nothing_says_zero(zeros_first: bool) -> None:
    """Several API servers of one engine: only one of them holds the figures at a time."""
    rows = [
        'vllm:num_requests_running{engine="0",model_name="m",pid="11"} 4',
        'vllm:num_requests_running{engine="0",model_name="m",pid="12"} 0',
        'vllm:num_requests_running{engine="1",model_name="m",pid="11"} 0',
        'vllm:num_requests_running{engine="1",model_name="m",pid="12"} 3',
        'vllm:kv_cache_usage_perc{engine="0",model_name="m",pid="11"} 0.4',
        'vllm:kv_cache_usage_perc{engine="0",model_name="m",pid="12"} 0',
        'vllm:kv_cache_usage_perc{engine="1",model_name="m",pid="11"} 0.0',
        'vllm:kv_cache_usage_perc{engine="1",model_name="m",pid="12"} 0.2',
    ]
    page = "\n".join(reversed(rows) if zeros_first else rows).encode()
    assert read_page(page, engine_named("vllm")) == pytest.approx(
        {b"vllm:num_requests_running": 7.0, b"vllm:kv_cache_usage_perc": 0.3}
    )


def test_pipeline_ranks_speak_of_the_same_requests() -> None:
    page = "\n".join(sglang("sglang:", f'tp_rank="0",pp_rank="{rank}"') for rank in (0, 1))
    page = page.replace('pp_rank="0",moe', "moe")
    assert read_page(page.encode(), engine_named("sglang"))[b"sglang:num_running_reqs"] == 4.0
