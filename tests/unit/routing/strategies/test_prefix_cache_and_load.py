"""`prefix-cache-and-load`: the least work, in seconds."""

from __future__ import annotations

import pytest

from routing.prefix.rendezvous import draws_of_few
from tests.unit.routing.strategies.strategy_cluster import NAN, NOW, Cluster

STRATEGY = "prefix-cache-and-load"


def test_all_terms():
    # Backlog and own prompt over the rate, the own one at its price (a mean backlog of 2,000 tokens over a step's
    # 2,048); 10 tokens of 10 ms, 3 % for each of 4 open requests, which the prompt holds up; with it one is
    # half full: 0.15 s.
    cluster = Cluster(
        2,
        prefill_backlog_tokens=[4000, 0],
        prefill_backlog_at_seconds=[NOW, NOW],
        prefill_tokens_per_second=[NAN, 4000],
        inflight_requests=[4, 0],
        kv_usage_ratio=[0.0, 0.25],
        kv_capacity_tokens=[8000, 8000],
    )
    price = 1 + 2000 / 2048
    first, second = cluster.terms(STRATEGY, prompt_tokens=2000, output_tokens=10)
    assert first == pytest.approx((0.5, 0.25 * price, (10 * 0.01 * 0.03 + 0.05 * 0.25) * 4, 0.0, 0.0, 0.0))
    assert second == pytest.approx((0.0, 0.5 * price, 0.0, 0.15, 0.0, 0.0))


def test_long_prompts_have_a_price_of_their_own_length():
    cluster = Cluster(1, prefill_backlog_tokens=[4000], prefill_backlog_at_seconds=[NOW])
    (terms,) = cluster.terms(STRATEGY, prompt_tokens=8000)
    assert terms[1] == pytest.approx(1.0 * (1 + 4000 / 8000))


def test_cached_tokens_are_worth_the_prefill_that_they_save():
    costs = Cluster(2).costs(STRATEGY, [3000, 0], prompt_tokens=4000)
    assert costs == pytest.approx([1000 / 8000, 4000 / 8000])


def test_one_more_copy_of_what_several_hold_counts_for_less():
    costs = Cluster(3).costs(STRATEGY, [3000, 3000, 0], prompt_tokens=4000)
    assert costs == pytest.approx([1000 / 8000, 1000 / 8000, (1000 + 3000 / 2) / 8000])


def test_a_slow_pod_decodes_slowly_beside_others():
    cluster = Cluster(2, decode_request_seconds=[0.001, 0.0002], inflight_requests=[1, 1])
    decode = [terms[2] for terms in cluster.terms(STRATEGY, output_tokens=100)]
    assert decode == pytest.approx([0.1, 0.02])


def test_the_barrier_counts_what_is_not_cached_and_ends_short_of_full():
    cluster = Cluster(3, kv_usage_ratio=[0.75, 0.75, 1.5], kv_capacity_tokens=[10_000] * 3)
    barrier = [terms[3] for terms in cluster.terms(STRATEGY, [500, 1000, 0], prompt_tokens=1000)]
    assert barrier == pytest.approx([0.15 * 0.5 * 4, 0.0, 0.15 * 99])


def test_a_prompt_that_does_not_fit_waits_until_others_end():
    small, large = Cluster(2, kv_usage_ratio=[0.5, 0.5], kv_capacity_tokens=[4000, 400_000]).terms(
        STRATEGY, prompt_tokens=3000
    )
    assert small[3] == pytest.approx(0.15 * 99)
    assert large[3] == pytest.approx(0.15 * 0.5075 / 0.4925)


def test_a_profile_may_change_share_and_barrier():
    cluster = Cluster(1, inflight_requests=[2], kv_usage_ratio=[0.4], kv_capacity_tokens=[1000])
    (terms,) = cluster.terms(
        STRATEGY, prompt_tokens=100, output_tokens=100, options={"decodeShare": 1, "kvBarrierSeconds": 2}
    )
    assert terms[2:4] == pytest.approx((100 * 0.01 * 2 + 0.05 * 0.0125 * 2, 2.0))


def test_what_nobody_holds_goes_to_the_same_pod_everywhere():
    cluster = Cluster(3)
    terms = cluster.terms(STRATEGY, prompt_tokens=800, prefix=(17,), prefix_tokens=(64.0,))
    draws = draws_of_few(cluster.candidates().address_hash, 17)
    assert [each[5] for each in terms] == pytest.approx([0.1 * 0.02 * (1 - draw) for draw in draws])


def test_what_is_not_known_counts_as_none():
    cluster = Cluster(1, kv_usage_ratio=[NAN])
    assert cluster.terms(STRATEGY, prompt_tokens=800) == [pytest.approx((0.0, 0.1, 0.0, 0.0, 0.0, 0.0))]


def test_requests_without_a_known_length_see_each_other():
    cluster = Cluster(2, inflight_requests=[4, 0])
    busy, idle = cluster.costs(STRATEGY)
    assert busy - idle == pytest.approx(1.0 * 0.01 * 0.03 * 4)


def test_of_many_the_queue_and_the_open_requests_decide_who_is_looked_at():
    cluster = Cluster(
        2, prefill_backlog_tokens=[8000, 0], prefill_backlog_at_seconds=[NOW, NOW], inflight_requests=[0, 10]
    )
    assert cluster.scan(STRATEGY, output_tokens=100) == pytest.approx([1.0, 0.03 * 100 * 0.01 * 10])


def test_an_adapter_goes_where_it_has_a_slot():
    cluster = Cluster(3, adapter_slots=[1, 1, NAN])
    cluster.pods.books.adapters.began(0, "m")
    cluster.pods.books.adapters.began(1, "other")
    waits = [terms[4] for terms in cluster.terms(STRATEGY, output_tokens=100)]
    assert waits[0] == waits[2] == 0.0
    assert waits[1] == pytest.approx(0.3 + 100 * 0.01), "loaded when the other's answer has ended"


@pytest.mark.parametrize(
    ("at", "matched", "branch"),
    [(0, [0, 0], "cold"), (0, [900, 500], "best_match"), (1, [900, 500], "less_work")],
)
def test_why_a_pod_won(at: int, matched: list[float], branch: str):
    assert Cluster(2).branch(STRATEGY, at, matched, prompt_tokens=1000) == branch
