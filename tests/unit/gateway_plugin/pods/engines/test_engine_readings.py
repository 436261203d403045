"""What polls of one pod say together; every expected number is worked out by hand."""

from __future__ import annotations

import math

import pytest

from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import read_page
from gateway_plugin.pods.engines.readings import WEIGHT, Readings
from routing.pods.columns import Columns

V1 = {
    "num_requests_running": 3.0,
    "num_requests_waiting": 1.0,
    "kv_cache_usage_perc": 0.5,
    "prefix_cache_hits_total": 1000.0,
    "prefix_cache_queries_total": 9000.0,
    "prompt_tokens_total": 9000.0,
    "time_to_first_token_seconds_sum": 2.0,
    "time_to_first_token_seconds_count": 10.0,
    "inter_token_latency_seconds_sum": 20.0,
    "inter_token_latency_seconds_count": 1000.0,
    "request_prefill_time_seconds_sum": 4.0,
    "request_prefill_time_seconds_count": 8.0,
}
MEANS = ("engine_ttft_seconds", "engine_tpot_seconds", "engine_prefill_tokens_per_second")


def grown(values: dict[str, float], **growth: float) -> dict[str, float]:
    return {name: value + growth.get(name, 0.0) for name, value in values.items()}


def page(values: dict[str, float]) -> bytes:
    return "".join(f'vllm:{name}{{engine="0"}} {value}\n' for name, value in values.items()).encode()


class Pod:
    """A pod that is polled."""

    def __init__(self, engine: str = "vllm") -> None:
        self.engine = engine_named(engine)
        self.readings = Readings(self.engine)

    def poll(self, values: dict[str, float] | bytes) -> dict[str, float]:
        content = values if isinstance(values, bytes) else page(values)
        return self.readings.add(read_page(content, self.engine))


def test_the_first_poll_says_what_is_on_the_page() -> None:
    assert Pod().poll(V1) == {
        "running_requests": 3.0,
        "waiting_requests": 1.0,
        "kv_usage_ratio": 0.5,
        "prefix_hit_tokens": 1000.0,
        "prefix_query_tokens": 9000.0,
    }


def test_every_column_is_one_of_the_pod_table() -> None:
    columns = Columns()
    for name in ("vllm", "sglang", "trtllm", "xllm"):
        assert all(hasattr(columns, column) for column in (*engine_named(name).columns, *engine_named(name).means))
    assert all(hasattr(columns, column) for column in MEANS)


def test_only_what_is_momentary_becomes_unknown_when_the_page_stops_naming_it() -> None:
    pod = Pod()
    pod.poll(page(V1) + b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n')
    values = pod.poll(b"vllm:prompt_tokens_total 9000\n")
    assert set(values) == {"running_requests", "waiting_requests", "kv_usage_ratio"}
    assert all(math.isnan(value) for value in values.values())


def test_capacity_from_the_labels_and_from_sglangs_gauge() -> None:
    info = b'vllm:cache_config_info{block_size="16",num_gpu_blocks="573",num_gpu_blocks_override="None"} 1.0\n'
    assert Pod().poll(info)["kv_capacity_tokens"] == 9168.0
    both = b'sglang:cache_config_info{page_size="1",num_pages="5"} 1\nsglang:max_total_num_tokens 471258\n'
    assert Pod("sglang").poll(both)["kv_capacity_tokens"] == 471258.0


def test_means_between_two_polls() -> None:
    pod = Pod()
    pod.poll(V1)
    values = pod.poll(
        grown(
            V1,
            time_to_first_token_seconds_sum=1.5,
            time_to_first_token_seconds_count=5,
            inter_token_latency_seconds_sum=4.0,
            inter_token_latency_seconds_count=80,
        )
    )
    assert values["engine_ttft_seconds"] == pytest.approx(0.3)
    assert values["engine_tpot_seconds"] == pytest.approx(0.05)


def test_growth_between_tokens_is_told_as_it_is() -> None:
    pod = Pod()
    first = V1 | {"inter_token_latency_seconds_sum": 90.0, "inter_token_latency_seconds_count": 9000.0}
    assert "decoded_tokens" not in pod.poll(first)
    second = grown(first, inter_token_latency_seconds_sum=2.5, inter_token_latency_seconds_count=100)
    values = pod.poll(second)
    assert (values["decoding_seconds"], values["decoded_tokens"]) == (2.5, 100)
    assert pod.poll(second)["decoded_tokens"] == 0
    gone = {name: value for name, value in second.items() if not name.startswith("inter_token")}
    assert math.isnan(pod.poll(gone)["decoded_tokens"]), "not the growth of another second"


def test_a_third_poll_is_smoothed() -> None:
    pod = Pod()
    first = grown(V1, time_to_first_token_seconds_sum=3.0, time_to_first_token_seconds_count=10)
    second = grown(first, time_to_first_token_seconds_sum=1.3, time_to_first_token_seconds_count=1)
    pod.poll(V1)
    assert pod.poll(first)["engine_ttft_seconds"] == pytest.approx(0.3)
    assert pod.poll(second)["engine_ttft_seconds"] == pytest.approx(0.3 + WEIGHT * (1.3 - 0.3))


def test_nothing_new_between_polls_leaves_the_columns_alone() -> None:
    pod = Pod()
    later = grown(V1, time_to_first_token_seconds_sum=3.0, time_to_first_token_seconds_count=10)
    pod.poll(V1)
    pod.poll(later)
    assert not set(MEANS) & set(pod.poll(later))


def test_the_prefill_rate_is_the_mean_prompt_over_the_mean_time() -> None:
    pod = Pod()
    pod.poll(V1)
    # Four requests started with (12,000 - 4,000) / 4 = 2,000 uncached tokens each; the two that finished took 0.25 s.
    values = pod.poll(
        grown(
            V1,
            prompt_tokens_total=12_000,
            prefix_cache_hits_total=4_000,
            time_to_first_token_seconds_count=4,
            request_prefill_time_seconds_sum=0.5,
            request_prefill_time_seconds_count=2,
        )
    )
    assert values["engine_prefill_tokens_per_second"] == pytest.approx(8000.0)


def test_prefill_waits_until_enough_tokens_were_computed() -> None:
    pod = Pod()
    step = {
        "prompt_tokens_total": 1500.0,
        "prefix_cache_hits_total": 500.0,
        "time_to_first_token_seconds_count": 1.0,
        "request_prefill_time_seconds_sum": 0.1,
        "request_prefill_time_seconds_count": 1.0,
    }
    values, seen = V1, []
    for _ in range(5):
        seen.append(pod.poll(values).get("engine_prefill_tokens_per_second"))
        values = grown(values, **step)
    # 1,000 uncached tokens in 0.1 s a poll: every second difference has 2,000.
    assert seen == [None, None, pytest.approx(10_000.0), None, pytest.approx(10_000.0)]


def test_prefill_waits_for_the_first_request_that_finishes() -> None:
    pod = Pod()
    pod.poll(V1)
    started = grown(V1, prompt_tokens_total=40_000, time_to_first_token_seconds_count=10)
    assert "engine_prefill_tokens_per_second" not in pod.poll(started)
    finished = grown(started, request_prefill_time_seconds_sum=0.5, request_prefill_time_seconds_count=1)
    # Ten prompts of 4,000 tokens; the time of one of them. Not 40,000 tokens in 0.5 s.
    assert pod.poll(finished)["engine_prefill_tokens_per_second"] == pytest.approx(8000.0)


@pytest.mark.parametrize(("seconds", "expected"), [(1e-6, 1_000_000.0), (1e6, 100.0), (1.0, 4000.0)])
def test_computed_tokens_are_preferred_and_the_rate_is_clamped(seconds: float, expected: float) -> None:
    pod = Pod()
    values = V1 | {"request_prefill_kv_computed_tokens_sum": 100.0}
    pod.poll(values)
    values = grown(values, request_prefill_kv_computed_tokens_sum=4000, request_prefill_time_seconds_sum=seconds)
    assert pod.poll(values)["engine_prefill_tokens_per_second"] == pytest.approx(expected)


def test_a_restart_in_place_begins_the_differences_anew() -> None:
    pod = Pod()
    busy = grown(V1, time_to_first_token_seconds_sum=3.0, time_to_first_token_seconds_count=10)
    pod.poll(V1)
    pod.poll(busy)
    # The sum went backwards; the count alone would look like four more requests.
    fresh = dict.fromkeys(V1, 0.0) | {"time_to_first_token_seconds_sum": 1.0, "time_to_first_token_seconds_count": 24.0}
    restarted = pod.poll(fresh)
    assert not set(MEANS) & set(restarted)
    assert restarted["prefix_hit_tokens"] == 0.0
    again = grown(
        fresh,
        time_to_first_token_seconds_sum=2.6,
        time_to_first_token_seconds_count=2,
        prompt_tokens_total=8000,
        request_prefill_time_seconds_sum=1.0,
        request_prefill_time_seconds_count=1,
    )
    values = pod.poll(again)
    assert values["engine_ttft_seconds"] == pytest.approx(0.3 + WEIGHT * (1.3 - 0.3))
    assert values["engine_prefill_tokens_per_second"] == pytest.approx(4000.0)


def test_another_generation_begins_the_differences_of_its_new_names_anew() -> None:
    old_names = ("time_per_output_token_seconds_sum", "time_per_output_token_seconds_count")
    new_names = ("inter_token_latency_seconds_sum", "inter_token_latency_seconds_count")
    rest = {name: value for name, value in V1.items() if name not in new_names}
    old = rest | dict(zip(old_names, (10.0, 500.0), strict=True))
    pod = Pod()
    pod.poll(old)
    old = grown(old, time_per_output_token_seconds_sum=3.0, time_per_output_token_seconds_count=100)
    assert pod.poll(old)["engine_tpot_seconds"] == pytest.approx(0.03)
    # Both generations' names at once, as the versions between have them: the new one is followed from here.
    both = old | dict(zip(new_names, (90.0, 9000.0), strict=True))
    assert "engine_tpot_seconds" not in pod.poll(both)
    both = grown(both, inter_token_latency_seconds_sum=2.0, inter_token_latency_seconds_count=100)
    assert pod.poll(both)["engine_tpot_seconds"] == pytest.approx(0.03 + WEIGHT * (0.02 - 0.03))


def test_the_oldest_generation_has_a_prefill_rate_too() -> None:
    old = {name: value for name, value in V1.items() if not name.startswith("prefix_cache")}
    old["gpu_prefix_cache_hits_total"] = 100.0
    pod = Pod()
    pod.poll(old)
    old = grown(
        old,
        prompt_tokens_total=7000,
        gpu_prefix_cache_hits_total=3000,
        time_to_first_token_seconds_count=1,
        request_prefill_time_seconds_sum=0.5,
        request_prefill_time_seconds_count=1,
    )
    assert pod.poll(old)["engine_prefill_tokens_per_second"] == pytest.approx(8000.0)


def test_sglang() -> None:
    def sglang(tokens: float, seconds: float, ttft: tuple[float, int]) -> bytes:
        return (
            f'sglang:realtime_tokens_total{{mode="prefill_compute"}} {tokens}\n'
            f'sglang:realtime_tokens_total{{mode="decode"}} {tokens * 3}\n'
            f'sglang:per_stage_req_latency_seconds_sum{{stage="prefill_forward"}} {seconds}\n'
            f'sglang:per_stage_req_latency_seconds_sum{{stage="decode_loop"}} {seconds * 9}\n'
            f"sglang:time_to_first_token_seconds_sum {ttft[0]}\n"
            f"sglang:time_to_first_token_seconds_count {ttft[1]}\n"
        ).encode()

    pod = Pod("sglang")
    # Series with labels are not on the page before their first event.
    pod.poll(b"sglang:num_running_reqs 0\n")
    assert not set(MEANS) & set(pod.poll(sglang(3000, 1.0, (1.0, 2))))
    values = pod.poll(sglang(9000, 3.0, (1.5, 3)))
    assert values["engine_prefill_tokens_per_second"] == pytest.approx(3000.0)
    assert values["engine_ttft_seconds"] == pytest.approx(0.5)
