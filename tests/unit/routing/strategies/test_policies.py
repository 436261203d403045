"""Every strategy against numbers worked out by hand, and what holds for all of them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.candidates import Candidates
from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.pods.pod_view import PodView
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.every import all_policies
from routing.strategies.options import with_defaults
from routing.strategies.policy import Policy, RequestOutcome, RoutingRequest
from routing.strategies.session_affinity import token_of

NAN = float("nan")
NOW = 1000.0


class Cluster:
    """Pods of model "m" whose columns a test sets by hand; time is `now`."""

    def __init__(self, count: int, **columns: list[float]) -> None:
        self.now = NOW
        self.pods = PodTable(lambda: self.now)
        specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
        self.pods.apply(ClusterState(specs, frozenset()))
        self.pods.columns.polled_at_seconds[:count] = NOW
        for name, values in columns.items():
            getattr(self.pods.columns, name)[self.view.rows] = values
        self.policies = all_policies(lambda: self.now, np.random.default_rng(0))

    @property
    def view(self) -> PodView:
        return self.pods.view("m")

    def costs(self, strategy: str, matched: list[float] | None = None, **request: Any) -> list[float]:
        view = self.view
        if matched is not None:
            view.matched_tokens = np.array(matched)
        costs = self.policies[strategy].costs(Candidates.of(view), RoutingRequest("m", **request))
        return [float(cost) for cost in costs]


@pytest.mark.parametrize(
    ("strategy", "columns", "request_fields", "expected"),
    [
        ("random", {}, {}, [0, 0]),
        ("least-request", {"inflight_requests": [3, 1]}, {}, [3, 1]),
        # 1 * prompt + 2 * output, in flight
        (
            "throughput",
            {"inflight_prompt_tokens": [100, 0], "inflight_output_tokens": [10, 70]},
            {},
            [100 + 2 * 10, 2 * 70],
        ),
        # polled usage + booked / capacity
        (
            "least-kv-cache",
            {
                "kv_usage_ratio": [0.5, 0.25],
                "booked_tokens_since_poll": [0, 1000],
                "kv_capacity_tokens": [10_000, 10_000],
            },
            {},
            [0.5, 0.35],
        ),
        ("least-kv-cache", {"kv_usage_ratio": [0.5, NAN]}, {}, [0.5, NAN]),
        # Queue and prompt at 8,000 tokens/s, the first pod's TTFT 4/3 of the mean, the second's 2/3; decoding with TPOT
        # 2/3 and 4/3 of the mean, slower by a twentieth per open request
        (
            "least-latency",
            {
                "ttft_seconds": [0.2, 0.1],
                "tpot_seconds": [0.01, NAN],
                "engine_tpot_seconds": [0.5, 0.02],
                "inflight_requests": [0, 2],
                "prefill_backlog_tokens": [800, 0],
                "prefill_backlog_at_seconds": [NOW, NOW],
            },
            {"prompt_tokens": 1600, "output_tokens": 100},
            [(0.1 + 0.2) * 4 / 3 + 1.0 * 2 / 3, 0.2 * 2 / 3 + 1.0 * 4 / 3 * 1.1],
        ),
        # max(requests in engine / 256, kv, waiting / 16); the first has 64 running, the second 8 waiting
        (
            "least-utilization",
            {
                "running_requests": [64, 10],
                "waiting_requests": [0, 8],
                "kv_usage_ratio": [0.1, 0.2],
                "booked_requests_since_poll": [64, 0],
            },
            {},
            [0.5, 0.5],
        ),
        ("least-utilization", {"kv_usage_ratio": [0.3, NAN]}, {}, [0.3, NAN]),
        # Backlog and own prompt over rate, the own one at its price (mean backlog of 2,000 tokens over a step's 2,048),
        # decoding beside others, and the KV barrier
        (
            "prefix-cache-and-load",
            {
                "prefill_backlog_tokens": [4000, 0],
                "prefill_backlog_at_seconds": [NOW, NOW],
                "prefill_tokens_per_second": [NAN, 4000],
                "inflight_requests": [4, 0],
                "kv_usage_ratio": [0.0, 0.5],
            },
            {"prompt_tokens": 2000, "output_tokens": 10},
            [0.5 + 0.25 * (1 + 2000 / 2048) + (10 * 0.01 * 0.05 + 0.05 * 0.25) * 4, 0.5 * (1 + 2000 / 2048) + 0.15],
        ),
    ],
)
def test_costs(strategy: str, columns: dict[str, list[float]], request_fields: dict[str, Any], expected: list[float]):
    assert Cluster(2, **columns).costs(strategy, **request_fields) == pytest.approx(expected, nan_ok=True)


def test_prefix_cache_weighs_match_and_load():
    # The idlest pod has none in flight and one pod holds the best match, so the bound is 6: pod 0 is over it. Loads are
    # inflight / (1 + 8).
    cluster = Cluster(3, inflight_requests=[8, 4, 0])
    costs = cluster.costs("prefix-cache", matched=[900, 500, 50], prompt_tokens=1000)
    assert costs == pytest.approx([1 + 8 / 9, -0.5 + 0.02 * 4 / 9, 1 + 0])
    # Three holders share the bound of 6: with 4 in flight, even the second is over it.
    costs = cluster.costs("prefix-cache", matched=[900, 900, 900], prompt_tokens=1000)
    assert costs == pytest.approx([1 + 8 / 9, 1 + 4 / 9, -0.9])


def test_a_profile_changes_a_strategys_numbers():
    cluster = Cluster(2, inflight_prompt_tokens=[100, 0], inflight_output_tokens=[0, 100])
    assert cluster.costs("throughput", config=with_defaults({"outputTokenWeight": 3})) == [100, 300]
    strict = cluster.costs(
        "prefix-cache", matched=[400, 0], prompt_tokens=1000, config=with_defaults({"minMatchRatio": 0.5})
    )
    assert strict == [1, 1], "40 % is no match where half is asked for"


def test_cached_tokens_are_worth_the_prefill_they_save():
    cluster = Cluster(2)
    costs = cluster.costs("prefix-cache-and-load", matched=[3000, 0], prompt_tokens=4000)
    assert costs == pytest.approx([1000 / 8000, 4000 / 8000])
    # Of three pods two hold it: one more copy counts half.
    costs = Cluster(3).costs("prefix-cache-and-load", matched=[3000, 3000, 0], prompt_tokens=4000)
    assert costs == pytest.approx([1000 / 8000, 1000 / 8000, (1000 + 3000 / 2) / 8000])


def test_prefill_backlog_drains_with_time():
    cluster = Cluster(1)
    cluster.pods.book(0, Work(prompt_tokens=8000, uncached_tokens=8000))
    assert cluster.view.prefill_backlog_tokens[0] == 8000
    cluster.now += 0.75
    assert cluster.view.prefill_backlog_tokens[0] == pytest.approx(2000)
    cluster.now += 10
    assert cluster.view.prefill_backlog_tokens[0] == 0


def test_an_aborted_prefill_leaves_the_backlog():
    cluster = Cluster(1)
    cluster.pods.book(0, Work(4000, 4000))
    second = cluster.pods.book(0, Work(4000, 4000))
    cluster.now += 0.25
    second.release()
    assert cluster.view.prefill_backlog_tokens[0] == pytest.approx(2000), "only the second one's work goes"
    assert list(cluster.view.inflight_prompt_tokens) == [4000]


def test_throughput_counts_what_ended_and_corrects_it():
    cluster = Cluster(2)
    lease = cluster.pods.book(0, Work(100, 100, 50))
    assert cluster.costs("throughput") == [100 + 2 * 50, 0]
    lease.release()
    assert cluster.costs("throughput") == [100 + 2 * 50, 0], "the estimate stands until the log tells"
    lease.correct(80, 10)
    assert cluster.costs("throughput") == [80 + 2 * 10, 0]
    cluster.now += 66
    assert cluster.costs("throughput") == [0, 0], "the minute is over"


def test_busy_time_is_a_share_of_the_last_minute():
    cluster = Cluster(2)
    first, second = cluster.pods.book(0), cluster.pods.book(0)
    cluster.now += 10
    first.release()
    cluster.now += 5
    assert cluster.costs("least-busy-time") == pytest.approx([15 / 60 + 0.01, 0])
    second.release()
    cluster.now += 15
    assert cluster.costs("least-busy-time") == pytest.approx([15 / 60, 0])
    cluster.now += 46
    assert cluster.costs("least-busy-time")[0] < 15 / 60


def test_power_of_two_takes_the_better_of_two():
    cluster = Cluster(5, inflight_requests=[5, 1, 4, 2, 3])
    for _ in range(20):
        costs = cluster.costs("power-of-two")
        finite = [position for position, cost in enumerate(costs) if np.isfinite(cost)]
        assert len(finite) == 2
        assert [costs[position] for position in finite] == [[5, 1, 4, 2, 3][position] for position in finite]


def test_sessions_stay_and_only_those_of_a_lost_pod_move():
    cluster = Cluster(5)

    def pod_of(session: str) -> str:
        costs = cluster.policies["session-affinity"].costs(
            Candidates.of(cluster.view), RoutingRequest("m", session=session)
        )
        return cluster.pods.spec(int(cluster.view.rows[int(np.argmin(costs))])).name

    before = {f"s-{i}": pod_of(f"s-{i}") for i in range(1000)}
    counts = [list(before.values()).count(f"pod-{i}") for i in range(5)]
    assert min(counts) > 150, counts
    left = tuple(spec for _, spec in cluster.pods.items() if spec.name != "pod-2")
    cluster.pods.apply(ClusterState(left, frozenset()))
    moved = {session for session, pod in before.items() if pod_of(session) != pod}
    assert moved == {session for session, pod in before.items() if pod == "pod-2"}


def test_a_token_pins_its_pod():
    cluster = Cluster(4)
    for i in range(4):
        costs = cluster.costs("session-affinity", session=token_of(f"10.0.0.{i}:8000"))
        assert int(np.argmin(costs)) == i
    assert cluster.costs("session-affinity") == [0, 0, 0, 0]


def test_a_token_of_aibrix_pins_its_pod_too():
    cluster = Cluster(4)
    for i in range(4):
        costs = cluster.costs("session-affinity", session=b64encode(f"10.0.0.{i}:8000".encode()).decode())
        assert int(np.argmin(costs)) == i
        assert min(costs) < -1, "pinned, not drawn"
    for other in ("MTAuMC4wLjE=", "MTAuMC4wLjk6ODAwMA==", "MTAuMC4wLjE6ODAwMA", "x" * 100, "\u00e9" * 20):
        assert min(cluster.costs("session-affinity", session=other)) >= -1, "no pod's, so drawn"


def test_vtc_sets_users_apart_by_what_they_took():
    cluster = Cluster(3)
    vtc = cluster.policies["vtc-basic"]
    pod = cluster.pods.spec(0)
    assert cluster.costs("vtc-basic", user="flood") == [0, 0, 0], "a lone user has all pods"
    vtc.booked(pod, RoutingRequest("m", user="flood", prompt_tokens=40_000, output_tokens=20_000))
    vtc.booked(pod, RoutingRequest("m", user="light", prompt_tokens=0, output_tokens=0))
    # flood: 80,000 tokens, position 1; light: 0, position 0; contention (80,000 - 0) / 80,000 = 1
    assert cluster.costs("vtc-basic", user="flood") == [1, 0.5, 0]
    assert cluster.costs("vtc-basic", user="light") == [0, 0, 0], "who took little may go anywhere"
    assert cluster.costs("vtc-basic") == [0, 0, 0]
    vtc.settled(
        RoutingRequest("m", user="flood", prompt_tokens=40_000, output_tokens=20_000),
        RequestOutcome(pod, True, 10_000, 0, 5000),
    )
    # Real tokens: 20,000 of at least 64,000.
    cluster.now += 1.0
    decayed = 20_000 * 0.5 ** (1 / 60)
    assert cluster.costs("vtc-basic", user="flood")[0] == pytest.approx(decayed / 64_000 * decayed / 64_000)


LOADS = st.lists(st.integers(0, 60), min_size=2, max_size=6)
STRATEGIES = sorted(all_policies(lambda: 0.0, np.random.default_rng(0)))
LOAD_AWARE = [name for name in STRATEGIES if name not in ("random", "session-affinity", "power-of-two")]


def loaded(loads: list[int], order: list[int] | None = None) -> Cluster:
    cluster = Cluster(len(loads), running_requests=[0.0] * len(loads), kv_usage_ratio=[0.0] * len(loads))
    cluster.pods.columns.ttft_seconds[: len(loads)] = 0.1
    rows = cluster.view.rows
    for position in order or range(len(loads)):
        for _ in range(loads[position]):
            cluster.pods.book(int(rows[position]), Work(100, 100, 20))
    return cluster


@given(LOADS, st.sampled_from(LOAD_AWARE))
def test_more_load_never_attracts(loads: list[int], strategy: str):
    costs = loaded(loads).costs(strategy, user="u", prompt_tokens=100, output_tokens=20)
    for lighter, heavier in [(i, j) for i in range(len(loads)) for j in range(len(loads)) if loads[i] < loads[j]]:
        # Equal but for load; prefix strategies may prefer by a hair among pods of nearly equal load.
        assert costs[lighter] <= costs[heavier] + 0.0011, (strategy, loads, costs)


@given(LOADS, st.sampled_from([name for name in LOAD_AWARE if not name.startswith(("prefix", "vtc"))]), st.randoms())
def test_relabelling_pods_permutes_the_costs(loads: list[int], strategy: str, random: Any):
    order = list(range(len(loads)))
    random.shuffle(order)
    costs = loaded(loads).costs(strategy, prompt_tokens=100, output_tokens=20)
    relabelled = loaded([loads[i] for i in order]).costs(strategy, prompt_tokens=100, output_tokens=20)
    assert relabelled == pytest.approx([costs[i] for i in order], nan_ok=True)


@pytest.mark.parametrize("strategy", ["least-kv-cache", "least-utilization", "least-latency"])
def test_a_strategy_that_knows_nothing_falls_back_and_says_so(strategy: str):
    cluster = Cluster(3, inflight_requests=[2, 0, 1])
    cluster.pods.columns.polled_at_seconds[:] = NOW - 60
    router = Router(cluster.pods, np.random.default_rng(0), candidates=3)
    policy = router.policy(strategy)
    assert isinstance(policy, Policy)
    booking = router.book(policy, RoutingRequest("m"))
    assert booking.branch == "fallback_least_request"
    assert [pod.name for pod in booking.pods] == ["pod-1", "pod-2", "pod-0"]


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.sampled_from(STRATEGIES), st.integers(0, 2**32 - 1))
def test_only_ready_pods_are_chosen(ready: list[bool], strategy: str, seed: int):
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"{i}", f"10.0.0.{i}:1", ("m",), ready=up) for i, up in enumerate(ready))
    pods.apply(ClusterState(specs, frozenset()))
    router = Router(pods, np.random.default_rng(seed), candidates=3)
    policy = router.policy(strategy)
    assert policy is not None
    if any(ready):
        chosen = router.book(
            policy, RoutingRequest("m", user="u", session="s", prefix=(1,), prefix_tokens=(64.0,))
        ).pods
        assert all(ready[int(pod.name)] for pod in chosen)
        assert len({pod.name for pod in chosen}) == len(chosen) == min(3, sum(ready))
