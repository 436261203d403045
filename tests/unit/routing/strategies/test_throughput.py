"""`throughput`: weighted tokens of the last minute and of what is open."""

from __future__ import annotations

from routing.pods.books import Work
from tests.unit.routing.strategies.strategy_cluster import Cluster


def test_an_output_token_weighs_two_prompt_tokens():
    cluster = Cluster(2, inflight_prompt_tokens=[100, 0], inflight_output_tokens=[10, 70])
    assert cluster.terms("throughput") == [(0.0, 100 + 2 * 10), (0.0, 2 * 70)]
    assert cluster.scan("throughput") == [110.0, 70.0], "unweighted, where hundreds are looked through"


def test_a_profile_may_weigh_otherwise():
    cluster = Cluster(2, inflight_prompt_tokens=[100, 0], inflight_output_tokens=[0, 100])
    assert cluster.costs("throughput", options={"outputTokenWeight": 3}) == [100, 300]
    assert cluster.costs("throughput", options={"promptTokenWeight": 0}) == [0, 200]


def test_what_ended_counts_for_a_minute_and_is_corrected():
    cluster = Cluster(2)
    lease = cluster.pods.book(0, Work(100, 100, 50))
    assert cluster.terms("throughput")[0] == (0.0, 200.0)
    lease.release()
    assert cluster.terms("throughput")[0] == (200.0, 0.0), "the estimate stands until the log tells"
    lease.correct(80, 10)
    assert cluster.costs("throughput") == [80 + 2 * 10, 0]
    cluster.now += 66
    assert cluster.costs("throughput") == [0, 0], "the minute is over"
