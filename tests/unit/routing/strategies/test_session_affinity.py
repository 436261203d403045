"""`session-affinity`: a session's own pod, and the tokens that pin one."""

from __future__ import annotations

from base64 import b64encode

import numpy as np
import pytest

from routing.prefix.rendezvous import draws_of_few
from routing.spec import ClusterState
from routing.strategies.session_affinity import token_of
from tests.unit.routing.strategies.strategy_cluster import Cluster

STRATEGY = "session-affinity"


def cheapest(cluster: Cluster, session: str) -> str:
    costs = cluster.costs(STRATEGY, session=session)
    return cluster.pods.spec(int(cluster.view.rows[int(np.argmin(costs))])).name


def test_without_a_session_all_are_equal():
    assert Cluster(3).terms(STRATEGY) == [(0.0, 0.0)] * 3
    assert Cluster(3).scan(STRATEGY) == [0.0] * 3


def test_the_draw_is_of_address_and_session():
    cluster = Cluster(3)
    terms = cluster.terms(STRATEGY, session="a conversation")
    draws = [-draw for draw, _ in terms]
    assert all(0 <= draw < 1 for draw in draws)
    assert len(set(draws)) == 3
    assert draws != [-draw for draw, _ in cluster.terms(STRATEGY, session="another one")]
    assert draws != draws_of_few(cluster.candidates().address_hash, 0)
    assert cluster.scan(STRATEGY, session="a conversation") == pytest.approx([-draw for draw in draws])


def test_only_sessions_of_a_lost_pod_move():
    cluster = Cluster(5)
    before = {f"s-{i}": cheapest(cluster, f"s-{i}") for i in range(1000)}
    counts = [list(before.values()).count(f"pod-{i}") for i in range(5)]
    assert min(counts) > 150, counts
    left = tuple(spec for _, spec in cluster.pods.items() if spec.name != "pod-2")
    cluster.pods.apply(ClusterState(left, frozenset()))
    moved = {session for session, pod in before.items() if cheapest(cluster, session) != pod}
    assert moved == {session for session, pod in before.items() if pod == "pod-2"}


def test_a_token_pins_its_pod():
    cluster = Cluster(4)
    for i in range(4):
        session = token_of(f"10.0.0.{i}:8000")
        assert [pin for _, pin in cluster.terms(STRATEGY, session=session)] == [
            -2.0 if at == i else 0.0 for at in range(4)
        ]
        assert int(np.argmin(cluster.scan(STRATEGY, session=session))) == i


def test_a_token_of_aibrix_pins_its_pod_too():
    cluster = Cluster(4)
    for i in range(4):
        assert cheapest(cluster, b64encode(f"10.0.0.{i}:8000".encode()).decode()) == f"pod-{i}"
    for other in ("MTAuMC4wLjE=", "MTAuMC4wLjk6ODAwMA==", "MTAuMC4wLjE6ODAwMA", "x" * 16, "x" * 100, "\u00e9" * 20):
        assert all(pin == 0.0 for _, pin in cluster.terms(STRATEGY, session=other)), "no pod's, so drawn"


def test_a_token_of_a_pod_that_is_gone_is_a_session_like_another():
    cluster = Cluster(4)
    gone = token_of("10.0.0.9:8000")
    assert [pin for _, pin in cluster.terms(STRATEGY, session=gone)] == [0.0] * 4
    assert cheapest(cluster, gone) == cheapest(cluster, gone)
