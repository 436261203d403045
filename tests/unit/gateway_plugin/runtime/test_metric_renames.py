"""Pages of engines, of our own making with their true names, under AIBrix's names."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway_plugin.runtime.metric_renames import RENAMES, normalised

_HISTOGRAM = """# HELP {0} Seconds.
# TYPE {0} histogram
{0}_bucket{{le="0.1",model_name="m"}} 3.0
{0}_bucket{{le="+Inf",model_name="m"}} 4.0
{0}_sum{{model_name="m"}} 0.5
{0}_count{{model_name="m"}} 4.0
"""


def gauge(name: str, value: float) -> str:
    return f'# HELP {name} Of it.\n# TYPE {name} gauge\n{name}{{model_name="m"}} {value}\n'


def counter(name: str, value: float) -> str:
    return (
        f'# HELP {name}_total Of them.\n# TYPE {name}_total counter\n{name}_total{{model_name="m"}} {value}\n'
        f'# HELP {name}_created Since.\n# TYPE {name}_created gauge\n{name}_created{{model_name="m"}} 1.7e+09\n'
    )


def vllm(usage: tuple[str, ...], pace: tuple[str, ...]) -> str:
    page = gauge("vllm:num_requests_running", 2) + gauge("vllm:num_requests_waiting", 5)
    page += "".join(gauge(f"vllm:{name}", 0.25) for name in usage)
    page += "".join(_HISTOGRAM.format(f"vllm:{name}") for name in ("time_to_first_token_seconds", *pace))
    page += _HISTOGRAM.format("vllm:e2e_request_latency_seconds")
    return page + counter("vllm:prompt_tokens", 100) + counter("vllm:generation_tokens", 7)


# By version: how it calls the KV cache's usage, and the time between tokens.
PAGES = {
    "0.6": vllm(("gpu_cache_usage_perc", "cpu_cache_usage_perc"), ("time_per_output_token_seconds",)),
    "0.8": vllm(("gpu_cache_usage_perc",), ("time_per_output_token_seconds",)),
    "0.10": vllm(
        ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
        ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    ),
    "0.11": vllm(("kv_cache_usage_perc",), ("inter_token_latency_seconds", "time_per_output_token_seconds")),
    "0.12": vllm(("kv_cache_usage_perc",), ("inter_token_latency_seconds",)),
}
SGLANG = (
    gauge("sglang:num_running_reqs", 2)
    + gauge("sglang:num_queue_reqs", 5)
    + gauge("sglang:token_usage", 0.25)
    + gauge("sglang:cache_hit_rate", 0.5)
    + gauge("sglang:gen_throughput", 80)
    + _HISTOGRAM.format("sglang:time_to_first_token_seconds")
    + _HISTOGRAM.format("sglang:inter_token_latency_seconds")
    + _HISTOGRAM.format("sglang:e2e_request_latency_seconds")
    + counter("sglang:prompt_tokens", 100)
    + counter("sglang:generation_tokens", 7)
)
TRTLLM = gauge("trtllm_kv_cache_utilization", 0.25) + counter("trtllm_request_success", 9)


def samples(page: str) -> dict[str, float]:
    """By name of the series; the parser is Prometheus' own client's, which refuses what Prometheus would."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("le", "+Inf") == "+Inf"
    }


@pytest.mark.parametrize("version", PAGES)
def test_every_version_of_vllm_says_the_same(version: str):
    found = samples(normalised(PAGES[version], "vllm"))
    assert found["aibrix:queue_size"] == 5
    assert found["aibrix:kv_cache_usage_ratio"] == 0.25
    assert found["aibrix:prompt_tokens_total"] == 100
    assert found["aibrix:generation_tokens_total"] == 7
    for family in ("time_to_first_token_seconds", "time_per_output_token_seconds", "time_per_output_token"):
        assert found[f"aibrix:{family}_count"] == 4
        assert found[f"aibrix:{family}_bucket"] == 4
    assert found["aibrix:e2e_request_latency_seconds_sum"] == found["aibrix:e2e_request_latency_sum"] == 0.5


@pytest.mark.parametrize("version", PAGES)
def test_the_engines_own_names_stay(version: str):
    page = PAGES[version]
    assert normalised(page, "vllm").startswith(page.rstrip("\n"))


def test_sglang():
    found = samples(normalised(SGLANG, "sglang"))
    assert found["aibrix:queue_size"] == 5
    assert found["aibrix:kv_cache_usage_ratio"] == found["aibrix:token_usage"] == 0.25
    assert found["aibrix:cache_hit_rate"] == 0.5
    assert found["aibrix:generation_throughput"] == 80
    assert found["aibrix:prompt_tokens_total"] == 100
    assert found["aibrix:time_per_output_token_count"] == 4


def test_tensorrt():
    found = samples(normalised(TRTLLM, "trtllm"))
    assert found["aibrix:kv_cache_usage_perc"] == found["aibrix:kv_cache_usage_ratio"] == 0.25
    assert found["aibrix:request_success_total"] == 9


@pytest.mark.parametrize("version", PAGES)
def test_no_series_stands_twice(version: str):
    lines = [line for line in normalised(PAGES[version], "vllm").splitlines() if not line.startswith("#")]
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == len(set(series))
    kinds = [line for line in normalised(PAGES[version], "vllm").splitlines() if line.startswith("# TYPE")]
    assert len(kinds) == len({line.split()[2] for line in kinds})


def test_an_openmetrics_counter_gets_its_total():
    page = (
        "# HELP vllm:prompt_tokens Of them.\n# TYPE vllm:prompt_tokens counter\nvllm:prompt_tokens_total 3.0\n# EOF\n"
    )
    text = normalised(page, "vllm")
    assert "# TYPE aibrix:prompt_tokens_total counter" in text
    assert "aibrix:prompt_tokens_total 3.0" in text
    assert "# EOF" not in text


def test_what_has_no_rule_is_not_renamed():
    page = gauge("vllm:num_requests_swapped", 1) + gauge("process_open_fds", 9)
    assert normalised(page, "vllm") == page
    assert normalised(PAGES["0.6"], "llamacpp") == PAGES["0.6"]
    assert set(RENAMES) == {"vllm", "sglang", "trtllm"}
