"""Beyond what pods can do, leaving a cache for a shorter queue makes every queue longer."""

from __future__ import annotations

from benchmarks.routing.cluster import equal_pods, run
from benchmarks.routing.report import Report
from benchmarks.routing.workloads import shared_system_prompt


def documents(monkeypatch, price: float | None) -> Report:
    if price is not None:
        monkeypatch.setattr("routing.strategies.prefix_cache_and_load._price", lambda pods, request: price)
    return run(shared_system_prompt(1500, 34.0, documents=64), "prefix-cache-and-load", equal_pods(8, num_blocks=160))


def test_the_price_of_work_keeps_caches_in_use_under_high_load(monkeypatch):
    priced = documents(monkeypatch, None)
    unpriced = documents(monkeypatch, 1.0)
    assert priced.token_hit_ratio > unpriced.token_hit_ratio
    assert priced.ttft.mean < unpriced.ttft.mean
    assert priced.ttft.p99 < unpriced.ttft.p99
