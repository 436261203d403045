"""Candidates as lists, and the same pods as columns: both must say the same, whatever is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.candidates import Candidates
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.prefix.prefix_blocks import keys_of
from routing.prefix.rendezvous import draws, draws_of_few
from routing.router import Router
from routing.shortlist import MAX_PRICED
from routing.spec import ClusterState, PodSpec
from routing.strategies.every import all_policies
from routing.strategies.options import with_defaults
from routing.strategies.policy import RoutingRequest

NOW = 1000.0
KEYS = keys_of(tuple(range(1, 9)))
# Least and most; what must be measured first is unknown now and then.
COUNTED = {
    "inflight_requests": (0, 300),
    "requests_total": (0, 300),
    "booked_requests_since_poll": (0, 300),
    "inflight_prompt_tokens": (0, 1e6),
    "inflight_output_tokens": (0, 1e6),
    "inflight_requests_elsewhere": (0, 100),
    "inflight_prompt_tokens_elsewhere": (0, 1e6),
    "inflight_output_tokens_elsewhere": (0, 1e6),
    "booked_tokens_since_poll": (0, 1e6),
    "prefill_backlog_tokens": (0, 1e6),
    "prefill_backlog_at_seconds": (NOW - 60, NOW),
    "busy_since_seconds": (NOW - 60, NOW),
}
MEASURED = {
    "running_requests": (0, 500),
    "waiting_requests": (0, 500),
    "kv_usage_ratio": (0, 1),
    "kv_capacity_tokens": (1, 1e6),
    "prefill_tokens_per_second": (1, 1e5),
    "engine_ttft_seconds": (1e-4, 10),
    "engine_tpot_seconds": (1e-4, 10),
    "polled_at_seconds": (NOW - 20, NOW),
    "ttft_seconds": (1e-4, 10),
    "tpot_seconds": (1e-4, 10),
}


def request_of(**fields: Any) -> RoutingRequest:
    return RoutingRequest("m", prefix=KEYS.hashes, prefix_tokens=KEYS.tokens, **fields)


REQUESTS = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["", "kim", "lee"]),
        "session": st.sampled_from(["", "a conversation", "00000000000000ff"]),
        "prompt_tokens": st.floats(0, 1e5),
        "output_tokens": st.floats(0, 1e4),
        "config": st.fixed_dictionaries(
            {}, optional={"minMatchRatio": st.floats(0, 1), "decodeShare": st.floats(0, 1)}
        ).map(with_defaults),
    }
).map(lambda fields: request_of(**fields))


class Site:
    """Pods of which anything may be known (drawn from a seed), and a router that has seen anything."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pods = PodTable(lambda: NOW)
        specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
        self.pods.apply(ClusterState(specs, frozenset()))
        self.router = Router(self.pods, np.random.default_rng(0))
        rows = self.pods.view("m").rows
        self.pods.books.mirror.turn(NOW - 0.1, 2.0)
        few_values = rng.random() < 0.3  # so that pods cost the same
        for name, (least, most) in (COUNTED | MEASURED).items():
            values = rng.uniform(least, most, count)
            if few_values or rng.random() < 0.1:
                values[:] = values[0]
            if name in MEASURED:
                values[rng.random(count) < rng.choice([0.0, 0.3, 1.0])] = np.nan
            getattr(self.pods.columns, name)[rows] = values
        if rng.random() < 0.1:
            self.pods.columns.kv_capacity_tokens[rows[0]] = 0.0
        if rng.random() < 0.1:
            self.pods.columns.tpot_seconds[rows] = 0.0
        self.pods.books.has_elsewhere = bool(rng.random() < 0.5)
        for row in rows.tolist():
            depth = int(rng.integers(0, len(KEYS.hashes) + 1)) if rng.random() < 0.5 else 0
            if depth:
                self.router.prefixes.insert(row, keys_of(KEYS.hashes[:depth]))
            for window in (self.pods.books.prompt_tokens, self.pods.books.output_tokens):
                window.add(row, rng.uniform(0, 1e6), NOW)
            if rng.random() < 0.2:
                self.pods.health.failed(row, Failure.UNAVAILABLE)

    def priced(self, strategy: str, request: RoutingRequest) -> Candidates:
        """The candidates as the strategy would see them."""
        policy = self.router.policy(strategy)
        assert policy is not None
        rows, _ = self.router._offered(self.pods.view("m").rows)
        return self.router._priced(rows, policy, request)


SITES = st.builds(Site, st.integers(1, MAX_PRICED), st.integers(0, 2**32))
STRATEGIES = sorted(all_policies(lambda: NOW, np.random.default_rng(0)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(SITES, REQUESTS, st.floats(0, 1e6))
def test_every_strategy_prices_whatever_is_known(
    strategy: str, site: Site, request: RoutingRequest, served_tokens: float
):
    policy = site.router.policy(strategy)
    assert policy is not None
    policy.booked(site.pods.spec(0), RoutingRequest("m", user="kim", prompt_tokens=served_tokens))
    pods = site.priced(strategy, request)
    terms = policy.terms(pods, request)
    assert len(terms) == len(pods)
    assert {len(parts) for parts in terms} == {len(policy.term_names)}


@given(SITES, REQUESTS)
def test_columns_and_lists_say_the_same(site: Site, request: RoutingRequest):
    policy = site.router.policy("prefix-cache")
    assert policy is not None
    rows, _ = site.router._offered(site.pods.view("m").rows)
    view, pods = site.router._many(rows, policy, request), site.router._priced(rows, policy, request)
    if (site.pods.columns.kv_capacity_tokens[view.rows] == 0.0).any():
        return  # lists take such a capacity for unknown; columns are for reports
    names = [name for name in dir(Candidates) if isinstance(getattr(Candidates, name), property)]
    shared = [name for name in names if hasattr(view, name)]
    assert len(shared) > 8
    for name in shared:
        with np.errstate(all="ignore"):
            expected = np.broadcast_to(getattr(view, name), len(view)).tolist()
        told = np.broadcast_to(getattr(pods, name), len(view)).tolist()
        assert told == pytest.approx(expected, rel=1e-9, nan_ok=True), name
    rates = pods.prefill_tokens_per_second
    assert pods.backlog_tokens(rates) == pytest.approx(view.prefill_backlog_tokens.tolist(), rel=1e-9)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.integers(0, 2**64 - 1))
def test_lots_are_drawn_alike(hashes: list[int], key: int):
    assert draws_of_few(hashes, key) == draws(np.array(hashes, np.uint64), key).tolist()


@given(SITES, st.integers(1, len(KEYS.hashes)))
def test_matches_are_found_alike(site: Site, depth: int):
    rows, hashes, tokens = site.pods.view("m").rows, KEYS.hashes[:depth], KEYS.tokens[:depth]
    blocks = site.router.prefixes.matched_blocks(hashes, rows).tolist()
    few = site.router.prefixes.matched_tokens(hashes, tokens, rows)
    assert few.tokens == [(0.0, *tokens)[count] for count in blocks]
    assert few.best_tokens == max(few.tokens)
    assert few.holders == (blocks.count(max(blocks)) if any(blocks) else 1)
