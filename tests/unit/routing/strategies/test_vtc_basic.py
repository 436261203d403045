"""`vtc-basic`: who took much keeps to the last pods."""

from __future__ import annotations

import pytest

from routing.strategies.policy import RequestOutcome
from tests.unit.routing.strategies.strategy_cluster import Cluster, request_of

STRATEGY = "vtc-basic"
FLOOD = request_of(user="flood", prompt_tokens=40_000, output_tokens=20_000)


def contended(count: int = 3) -> Cluster:
    """flood took 80,000 weighted tokens, light none: positions 1 and 0, and contention (80,000 - 0) / 80,000 = 1."""
    cluster = Cluster(count)
    vtc, pod = cluster.policy(STRATEGY), cluster.pods.spec(0)
    vtc.booked(pod, FLOOD)
    vtc.booked(pod, request_of(user="light"))
    return cluster


def test_users_are_set_apart_by_what_they_took():
    cluster = contended()
    assert cluster.terms(STRATEGY, user="flood") == [(1, 0), (0.5, 0), (0, 0)]
    assert cluster.costs(STRATEGY, user="light") == [0, 0, 0], "who took little may go anywhere"


@pytest.mark.parametrize("user", ["flood", ""])
def test_a_lone_user_and_nobody_have_all_pods(user: str):
    cluster = Cluster(3)
    cluster.policy(STRATEGY).booked(cluster.pods.spec(0), FLOOD)
    assert cluster.costs(STRATEGY, user=user) == [0, 0, 0]
    assert contended().costs(STRATEGY, user="") == [0, 0, 0]


def test_of_one_pod_there_is_no_choice():
    assert contended(1).costs(STRATEGY, user="flood") == [0]


def test_load_is_half_at_16_requests():
    cluster = Cluster(3, inflight_requests=[16, 0, 48])
    assert cluster.terms(STRATEGY, user="kim") == [(0, 0.5), (0, 0), (0, 0.75)]


def test_real_tokens_take_the_place_of_expected_ones_and_decay():
    cluster = contended()
    outcome = RequestOutcome(cluster.pods.spec(0), True, 10_000, 0, 5000)
    cluster.policy(STRATEGY).settled(FLOOD, outcome)
    # 20,000, of at least 64,000
    assert cluster.costs(STRATEGY, user="flood")[0] == pytest.approx((20 / 64) ** 2)
    cluster.now += 60
    assert cluster.costs(STRATEGY, user="flood")[0] == pytest.approx((10 / 64) ** 2)


def test_a_failed_request_took_nothing():
    cluster = contended()
    cluster.policy(STRATEGY).settled(FLOOD, RequestOutcome(None, False, 0, 0, 0))
    assert cluster.costs(STRATEGY, user="flood") == [0, 0, 0]


def test_who_has_been_away_for_two_minutes_competes_with_nobody():
    cluster = contended()
    cluster.now += 121
    cluster.policy(STRATEGY).booked(cluster.pods.spec(0), FLOOD)
    assert cluster.costs(STRATEGY, user="flood") == [0, 0, 0], "light is gone"


def test_a_profile_may_weigh_otherwise():
    cluster = Cluster(3)
    vtc, pod = cluster.policy(STRATEGY), cluster.pods.spec(0)
    options = {"promptTokenWeight": 4.0, "outputTokenWeight": 0.0}
    vtc.booked(pod, request_of(user="flood", prompt_tokens=8000, output_tokens=1000, options=options))
    vtc.booked(pod, request_of(user="light"))
    assert cluster.costs(STRATEGY, user="flood")[0] == pytest.approx((32 / 64) ** 2)
