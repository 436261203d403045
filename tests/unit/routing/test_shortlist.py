"""Which of hundreds of pods are priced: never more than some, always those that may be the best."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.pod_table import PodTable
from routing.pods.pod_view import PodView
from routing.prefix.prefix_blocks import keys_of
from routing.router import Router
from routing.shortlist import MAX_PRICED, shortlist
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest

KEYS = keys_of((11, 22, 33, 44))


def site(count: int) -> tuple[PodTable, Router]:
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.{i // 250}.{i % 250}:8000", ("m",)) for i in range(count))
    pods.apply(ClusterState(specs, frozenset()))
    return pods, Router(pods, np.random.default_rng(1), candidates=1)


def view_of(count: int) -> PodView:
    return site(count)[0].view("m")


@given(
    st.integers(MAX_PRICED + 1, 400),
    st.lists(st.sampled_from([0.0, 1.0, 5.0, float("nan")]), min_size=1, max_size=5),
    st.integers(0, 400),
    st.integers(0, 2**32),
)
def test_never_more_than_some_and_the_cheapest_among_them(count: int, scans: list[float], held: int, seed: int):
    view = view_of(count)
    scan = np.resize(np.array(scans), count)
    matched = np.zeros(count)
    matched[:held] = 64.0
    view.matched_tokens = matched
    few = shortlist(view, scan, 7, random.Random(seed).random)
    assert MAX_PRICED // 2 <= len(few) <= MAX_PRICED
    positions = np.flatnonzero(np.isin(view.rows, few.rows))
    assert len(set(positions.tolist())) == len(few)
    if not np.isnan(scan).all():
        assert np.nanmin(scan[positions]) == np.nanmin(scan)
    assert (matched[positions].max() == 64.0) == bool(held)
    assert few.matched_tokens.tolist() == matched[positions].tolist()
    assert (few.best_match_tokens, few.holders) == (view.best_match_tokens, view.holders)
    assert few.place.tolist() == view.place[positions].tolist()


def test_the_cheapest_holder_is_there_however_busy_holders_are():
    view = view_of(300)
    matched = np.zeros(300)
    matched[100:200] = 64.0
    view.matched_tokens = matched
    scan = np.zeros(300)
    scan[100:200] = np.arange(200.0, 100.0, -1.0)
    few = shortlist(view, scan, None, random.Random(0).random)
    assert view.rows[199] in few.rows


@pytest.mark.parametrize("strategy", ["random", "power-of-two", "least-request"])
def test_equal_pods_are_met_equally(strategy: str):
    _, router = site(120)
    policy = router.policy(strategy)
    assert policy is not None
    counts: Counter[str] = Counter()
    for _ in range(6000):
        booking = router.book(policy, RoutingRequest("m"))
        counts[booking.pods[0].name] += 1
        booking.lease.release()
    assert len(counts) == 120
    assert max(counts.values()) < 2 * 6000 / 120


def test_sessions_find_their_pod_among_hundreds():
    _, router = site(300)
    policy = router.policy("session-affinity")
    assert policy is not None
    for session in ("a", "b", "c"):
        explained = router.explain(policy, RoutingRequest("m", session=session))
        chosen = {router.book(policy, RoutingRequest("m", session=session)).pods[0].name for _ in range(5)}
        assert chosen == {explained[0].pod.name}


def test_a_prompt_that_nobody_holds_goes_where_every_replica_would_send_it():
    routers = [site(200)[1] for _ in range(4)]
    request = RoutingRequest("m", prompt_tokens=256.0, prefix=KEYS.hashes, prefix_tokens=KEYS.tokens)
    chosen = set()
    for router in routers:
        policy = router.policy("prefix-cache")
        assert policy is not None
        chosen.add(router.book(policy, request).pods[0].name)
    assert len(chosen) == 1
