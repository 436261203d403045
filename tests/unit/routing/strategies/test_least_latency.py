"""`least-latency`: queue, prefill and decoding, in seconds."""

from __future__ import annotations

import pytest

from tests.unit.routing.strategies.strategy_cluster import NAN, NOW, Cluster


def test_the_three_terms():
    # Queue and prompt at the assumed 8,000 tokens/s: the first pod's TTFT is 4/3 of the mean, the second's 2/3.
    # Decoding at 10 ms a token with TPOT 2/3 and 4/3 of the mean, slower by a twentieth per open request.
    cluster = Cluster(
        2,
        ttft_seconds=[0.2, 0.1],
        tpot_seconds=[0.01, NAN],
        engine_tpot_seconds=[0.5, 0.02],
        inflight_requests=[0, 2],
        prefill_backlog_tokens=[800, 0],
        prefill_backlog_at_seconds=[NOW, NOW],
    )
    first, second = cluster.terms("least-latency", prompt_tokens=1600, output_tokens=100)
    assert first == pytest.approx((0.1 * 4 / 3, 0.2 * 4 / 3, 1.0 * 2 / 3))
    assert second == pytest.approx((0.0, 0.2 * 2 / 3, 1.0 * 4 / 3 * 1.1))


def test_a_measured_rate_counts_as_it_is():
    cluster = Cluster(2, ttft_seconds=[0.2, 0.1], prefill_tokens_per_second=[4000.0, NAN])
    measured, assumed = cluster.terms("least-latency", prompt_tokens=1600)
    assert measured[1] == pytest.approx(1600 / 4000), "its TTFT says nothing more of it"
    assert assumed[1] == pytest.approx(1600 / 8000 * 2 / 3)


def test_a_profile_says_how_much_others_slow_a_step():
    cluster = Cluster(1, ttft_seconds=[0.1], inflight_requests=[4])
    (terms,) = cluster.terms("least-latency", output_tokens=100, options={"decodeShare": 0.5})
    assert terms[2] == pytest.approx(1.0 * (1 + 0.5 * 4))


def test_a_pod_without_a_first_token_is_unknown():
    cluster = Cluster(2, ttft_seconds=[0.2, NAN])
    known, unknown = cluster.costs("least-latency", prompt_tokens=100)
    assert known > 0
    assert unknown != unknown


def test_of_many_the_queue_and_the_open_requests_decide_who_is_looked_at():
    cluster = Cluster(
        2, prefill_backlog_tokens=[8000, 0], prefill_backlog_at_seconds=[NOW, NOW], inflight_requests=[0, 10]
    )
    assert cluster.scan("least-latency", output_tokens=100) == pytest.approx([1.0, 0.05 * 100 * 0.01 * 10])
