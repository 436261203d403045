"""What the process says of itself, and what all metrics have in common."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from gateway_plugin.cli import metrics_docs
from gateway_plugin.exchange.intent.rejections import refusal_kinds
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.gen_ai_metrics import GenAiCollector
from gateway_plugin.metrics.process_metrics import BuildInfo, LoopLag

DOCS = Path(__file__).parents[4] / "docs/metrics.md"


def samples(collector: LoopLag | BuildInfo | GenAiCollector) -> dict[str, float]:
    found = [sample for metric in collector.collect() for sample in metric.samples]
    return {f"{one.name}{sorted(one.labels.items()) if one.labels else ''}": one.value for one in found}


def test_the_page_of_metrics_is_what_the_process_tells():
    assert DOCS.read_text() == metrics_docs.page(), "run `make docs`"


async def test_every_metric_says_what_it_means_in_the_names_of_the_trade():
    for told in await metrics_docs.all_families():
        assert told.text.endswith("."), told
        assert (told.kind == "counter") is told.name.endswith("_total"), told
        assert not re.search(r"(_ms|_milliseconds|_minutes|_kb|_percent)(_|$)", told.name), told
        assert told.kind in ("counter", "gauge", "histogram", "info"), told
        assert not {"user", "request_id", "prompt", "le"} & set(told.labels), told


async def test_failures_that_have_not_happened_have_series():
    told = {one.name: one for one in await metrics_docs.all_families()}
    assert told["gateway_rejections_total"].labels == ("reason", "status")
    metrics = Metrics()
    metrics.expect_rejections(refusal_kinds())
    value = metrics.registry.get_sample_value
    assert value("gateway_rejections_total", {"reason": "limiter_unavailable", "status": "503"}) == 0.0
    assert value("gateway_settlements_total", {"outcome": "lost"}) == 0.0
    assert value("gateway_access_log_entries_total", {"outcome": "unreadable"}) == 0.0


async def test_the_loops_delay_is_seen():
    lag = LoopLag(lambda now: 0.01)
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.005)
    time.sleep(0.15)  # noqa: ASYNC251 - what must not happen, and is to be seen
    await asyncio.sleep(0.02)
    task.cancel()
    found = samples(lag)
    count = found["gateway_event_loop_lag_seconds_count"]
    below = found["gateway_event_loop_lag_seconds_bucket[('le', '0.1')]"]
    assert count - below >= 1


def test_times_may_be_told_under_the_names_of_generative_ai():
    metrics = Metrics()
    metrics.ttft.labels("m").observe(0.12)
    found = samples(GenAiCollector(metrics))
    key = "gen_ai_server_time_to_first_token_seconds_sum[('gen_ai_request_model', 'm')]"
    assert found[key] == 0.12


def test_quantiles_are_told_to_a_fifth():
    """As `histogram_quantile` would: linear within the bucket."""
    metrics = Metrics()
    times = [0.1 + number / 1000 for number in range(41)]  # 100 to 140 ms, the median 120
    for seconds in times:
        metrics.ttft.labels("m").observe(seconds)
    below, bounds = 0.0, []
    for metric in metrics.ttft.collect():
        bounds = [(float(one.labels["le"]), one.value) for one in metric.samples if one.name.endswith("_bucket")]
    wanted, last = len(times) / 2, 0.0
    for bound, count in bounds:
        if count >= wanted:
            told = last + (bound - last) * (wanted - below) / (count - below)
            break
        below, last = count, bound
    assert abs(told / 0.12 - 1) < 0.2
