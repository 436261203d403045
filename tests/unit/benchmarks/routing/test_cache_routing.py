"""Prompts that share beginnings: caches must be used, and no pod may drown for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from benchmarks.routing.cluster import equal_pods, run
from benchmarks.routing.report import Report
from benchmarks.routing.traces import recorded
from benchmarks.routing.workloads import shared_system_prompt

TRACE = Path(__file__).parents[5] / "shared" / "traces" / "mooncake_synthetic.jsonl"
CACHE_AWARE = [("prefix-cache-and-load", 1.15), ("prefix-cache", 1.3)]


@cache
def system_prompt(strategy: str, per_second: float) -> Report:
    """One system prompt for all, and tails. Every pod comes to hold it, so that no strategy can win hits."""
    return run(shared_system_prompt(2000, per_second, documents=0), strategy, equal_pods(8))


@cache
def documents(strategy: str) -> Report:
    """The same, with one of 64 documents of 4,096 tokens behind it: 524,288 tokens, of which a pod can hold 81,920.

    What 8 pods can do when they find their documents, and far more than they can do without.
    """
    return run(shared_system_prompt(2000, 30.0, documents=64), strategy, equal_pods(8, num_blocks=160))


@cache
def trace(strategy: str) -> Report:
    """With its own output lengths and load: prefill takes 94 % of 8 pods when nothing is cached."""
    return run(recorded(TRACE), strategy, equal_pods(8, num_blocks=4000))


@pytest.mark.parametrize("per_second", [20.0, 40.0])
@pytest.mark.parametrize(("strategy", "bound"), CACHE_AWARE)
def test_a_shared_system_prompt_makes_no_monopoly(strategy: str, bound: float, per_second: float):
    report = system_prompt(strategy, per_second)
    assert report.request_skew <= bound
    assert report.prefill_skew <= bound
    # Each pod's first prompt is computed in any case.
    assert report.token_hit_ratio >= system_prompt("least-request", per_second).token_hit_ratio - 0.002


@pytest.mark.parametrize(("strategy", "bound"), CACHE_AWARE)
def test_documents_behind_a_shared_system_prompt_are_found(strategy: str, bound: float):
    report = documents(strategy)
    assert report.request_skew <= bound
    assert report.prefill_skew <= bound
    assert report.token_hit_ratio > documents("least-request").token_hit_ratio


def test_queues_do_not_make_the_caches_useless():
    report, blind = documents("prefix-cache-and-load"), documents("least-request")
    # Leaving a cache for a shorter queue makes every queue longer, and there is no way back: 0.65 and 18 s then.
    assert report.token_hit_ratio >= 0.85
    assert report.ttft.mean <= blind.ttft.mean / 10


@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not part of the project")
def test_a_public_trace():
    report = trace("prefix-cache-and-load")
    assert report.refused == 0
    # 0.65 is what a cache without end would find.
    assert report.token_hit_ratio >= 0.60
    # At a third of what the pods can do the work need not be even; a prompt of up to 191,000 tokens makes a difference.
    assert report.prefill_skew <= 1.5
    assert report.ttft.mean <= trace("least-request").ttft.mean / 3
    assert report.ttft.p99 <= trace("least-request").ttft.p99 / 2.5
    assert trace("random").token_hit_ratio == pytest.approx(0.17, abs=0.02)
