"""`least-latency`: queue, prefill and decoding, in seconds."""

from __future__ import annotations

import pytest

from tests.unit.routing.strategies.strategy_cluster import NAN, NOW, Cluster


def test_the_three_terms():
    # Learned rates and steps; what Envoy measured contains past queues, and is no part of it.
    cluster = Cluster(
        2,
        ttft_seconds=[9.0, 0.001],
        prefill_tokens_per_second=[8000, 4000],
        decode_base_seconds=[0.02, NAN],
        decode_request_seconds=[0.001, NAN],
        inflight_requests=[3, 2],
        prefill_backlog_tokens=[800, 0],
        prefill_backlog_at_seconds=[NOW, NOW],
    )
    first, second = cluster.terms("least-latency", prompt_tokens=1600, output_tokens=100)
    assert first == pytest.approx((0.1, 0.2, 100 * (0.02 + 3 * 0.001)))
    assert second == pytest.approx((0.0, 0.4, 100 * 0.01 * (1 + 2 * 0.03))), "10 ms, and decodeShare a request"


def test_a_profile_says_how_much_others_slow_a_step_until_that_is_learned():
    cluster = Cluster(1, prefill_tokens_per_second=[8000], inflight_requests=[4])
    (terms,) = cluster.terms("least-latency", output_tokens=100, options={"decodeShare": 0.5})
    assert terms[2] == pytest.approx(1.0 * (1 + 0.5 * 4))


def test_a_pod_whose_rate_nobody_told_is_unknown():
    cluster = Cluster(2, prefill_tokens_per_second=[8000, NAN])
    known, unknown = cluster.costs("least-latency", prompt_tokens=100)
    assert known > 0
    assert unknown != unknown


def test_of_many_the_queue_and_the_open_requests_decide_who_is_looked_at():
    cluster = Cluster(
        2, prefill_backlog_tokens=[8000, 0], prefill_backlog_at_seconds=[NOW, NOW], inflight_requests=[0, 10]
    )
    assert cluster.scan("least-latency", output_tokens=100) == pytest.approx([1.0, 0.03 * 100 * 0.01 * 10])
