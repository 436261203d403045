"""The instrument itself: virtual time, workloads, and the books at the end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks.routing.agenda import Agenda
from benchmarks.routing.cluster import Cluster, equal_pods, run
from benchmarks.routing.workloads import BLOCK_TOKENS, arrival, burst, chats, unshared


def test_calls_run_in_order_of_time_and_then_of_writing():
    agenda, seen = Agenda(), list[tuple[str, float]]()

    def note(name: str) -> None:
        seen.append((name, agenda.clock()))

    for name, at in (("c", 2.0), ("a", 1.0), ("b", 1.0)):
        agenda.at(at, partial(note, name))
    agenda.at(1.0, lambda: agenda.at(0.5, partial(note, "late")))
    agenda.run()
    assert seen == [("a", 1.0), ("b", 1.0), ("late", 1.0), ("c", 2.0)]


def test_one_request_takes_what_an_idle_engine_takes():
    pods = [replace(config, jitter=0.0) for config in equal_pods(1)]
    report = run([arrival(3.0, range(4), 3), arrival(9.0, range(4), 3)], "least-request", pods)
    first, second = report.served
    prefill_seconds = 2048 * 0.000125 + 0.006
    assert first.ttft_seconds == pytest.approx(0.030 + prefill_seconds)
    assert first.duration_seconds == pytest.approx(0.030 + prefill_seconds + 2 * 0.00635)
    assert first.tpot_seconds == pytest.approx(0.00635)
    # The last token is always computed: the last block does not count as cached.
    assert (first.cached_tokens, second.cached_tokens) == (0, 3 * BLOCK_TOKENS)
    assert report.token_hit_ratio == pytest.approx(3 / 8)


@pytest.mark.parametrize("strategy", ["prefix-cache-and-load", "power-of-two"])
def test_a_seed_gives_the_same_numbers_again(strategy):
    workload = chats(40, per_second=4.0)
    reports = [run(workload, strategy, equal_pods(4), seed) for seed in (1, 1, 2)]
    assert reports[0] == reports[1]
    # Without ties, nothing is left to chance.
    assert (reports[0] == reports[2]) == (strategy == "prefix-cache-and-load")


def test_all_is_given_back_and_learned_at_the_end():
    cluster = Cluster("prefix-cache-and-load", equal_pods(4))
    report = cluster.run(unshared(100, per_second=8.0))
    columns = cluster.table.columns
    assert len(report.served) == 100
    assert not columns.inflight_requests.any()
    assert not columns.inflight_prompt_tokens.any()
    assert columns.requests_total.sum() == 100
    assert not np.isnan(columns.ttft_seconds[:4]).any()
    assert set(columns.kv_capacity_tokens[:4]) == {512 * 512}
    assert cluster.router.outputs.expected("model", None) != cluster.router.outputs.expected("other", None)


def test_what_no_engine_can_hold_is_refused():
    cluster = Cluster("least-request", equal_pods(2, num_blocks=8))
    report = cluster.run([arrival(0.0, range(9), 1), arrival(0.1, range(3), 1)])
    assert (len(report.served), report.refused) == (1, 1)
    assert not cluster.table.columns.inflight_requests.any()


def test_a_lost_pod_takes_its_requests_along_and_gets_no_more():
    cluster = Cluster("least-request", equal_pods(2))
    cluster.agenda.at(0.1, lambda: cluster.lose("10.0.0.1:8000"))
    report = cluster.run([*burst(8), *burst(8, at_seconds=0.2)])
    assert (report.failed, report.refused) == (4, 0)
    assert report.requests_by_pod == {"10.0.0.1:8000": 0, "10.0.0.2:8000": 12}
    assert report.request_skew == pytest.approx(2.0)


def test_without_pods_all_is_refused():
    cluster = Cluster("random", equal_pods(1))
    cluster.lose("10.0.0.1:8000")
    report = cluster.run(burst(3))
    assert (report.refused, report.token_hit_ratio, report.request_skew) == (3, 0.0, 1.0)
    assert np.isnan(report.ttft.p50)


def test_faster_pods_are_given_more():
    pods = [config.at_speed(4.0) if number < 2 else config for number, config in enumerate(equal_pods(4))]
    shares = list(run(unshared(300, per_second=9.0), "prefix-cache-and-load", pods).requests_by_pod.values())
    assert min(shares[:2]) > 1.5 * max(shares[2:])


def test_a_report_says_the_most_important_in_a_line():
    report = run(burst(4), "least-request", [replace(config, jitter=0.0) for config in equal_pods(4)])
    assert repr(report) == "<Report 4 served, 0 refused, 0 failed, hits 0.000, skew 1.00, TTFT 0.292 s>"


def test_an_unknown_strategy_is_named():
    with pytest.raises(ValueError, match=r"'fastest' is none of .*least-request"):
        run([], "fastest", equal_pods(1))
