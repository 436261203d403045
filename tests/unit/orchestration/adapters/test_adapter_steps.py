"""Places, loads, unloads: what is done next, and that it comes to an end."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.adapters.adapter_pods import AdapterPod, WantedAdapter
from orchestration.adapters.adapter_steps import (
    IN_ALL,
    PER_POD,
    LoadAdapter,
    UnloadAdapter,
    delay_seconds,
    steps,
)
from orchestration.adapters.draining import DRAIN_SECONDS, GIVE_UP_SECONDS, Draining
from orchestration.adapters.placement import POLICIES, placed

RNG = random.Random(1)
ALL = frozenset({"p0", "p1", "p2"})


def pod(name: str, *loaded: str, ready: float | None = 60.0, **more: object) -> AdapterPod:
    return AdapterPod(name, ready, dict.fromkeys(loaded, "v1"), **more)  # type: ignore[arg-type]  # of the test's own


def adapter(name: str = "sql", **more: object) -> WantedAdapter:
    return replace(WantedAdapter(name, "v1", ALL), **more)  # type: ignore[arg-type]  # of the test's own


def test_no_replicas_named_means_every_pod_that_is_ready():
    pods = [pod("p0"), pod("p1", ready=None), pod("p2"), pod("elsewhere")]
    assert set(placed(adapter(), pods, RNG)) == {"p0", "p2"}


@pytest.mark.parametrize("policy", POLICIES)
def test_where_it_is_it_stays(policy: str):
    pods = [pod("p0"), pod("p1", "sql", "a", "b", max_held=3), pod("p2")]
    assert placed(adapter(replicas=1, policy=policy), pods, RNG) == ("p1",)


@pytest.mark.parametrize(
    ("policy", "first"),
    [("leastAdapters", "p0"), ("least-adapters", "p0"), ("binPack", "p1"), ("leastLatency", "p2"),
     ("leastThroughput", "p1"), ("slots", "p0"), ("default", "p0")],
)  # fmt: skip
def test_each_policy(policy: str, first: str):
    pods = [
        pod("p0", latency_seconds=2, tokens_per_second=9),
        pod("p1", "a", latency_seconds=3, tokens_per_second=1),
        pod("p2", "a", "b", max_held=2, latency_seconds=1, tokens_per_second=5),
    ]
    if policy == "leastLatency":
        pods[2] = replace(pods[2], max_held=4)
    assert placed(adapter(replicas=1, policy=policy), pods, RNG)[0] == first


def test_a_pod_without_room_comes_last_and_one_that_just_came_up_waits():
    pods = [pod("p0", "a", max_held=1), pod("p1", "a", "b"), pod("p2", ready=1.0)]
    assert placed(adapter(replicas=3), pods, RNG) == ("p1", "p0")


def test_a_policy_that_nobody_knows_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="leastAdapters"):
        placed(adapter(policy="best"), [], RNG)


def test_another_artifact_is_loaded_in_place():
    assert steps([adapter(identity="v2")], [pod("p0", "sql")], {"sql": ["p0"]}) == [
        LoadAdapter("p0", "sql", in_place=True)
    ]
    told_nothing = replace(pod("p0"), loaded={"sql": None})
    assert steps([adapter(identity="v2")], [told_nothing], {"sql": ["p0"]}) == []


def test_what_nobody_of_us_loaded_is_left_alone():
    assert steps([adapter()], [pod("p0", "sql", "theirs")], {"sql": ["p0"]}) == []


def test_a_deleted_adapter_is_unloaded_once_it_is_drained():
    gone = adapter(deleted=True)
    assert steps([gone], [pod("p0", "sql")], {"sql": ["p0"]}) == []
    assert steps([gone], [pod("p0", "sql")], {}, drained={("p0", "sql")}) == [UnloadAdapter("p0", "sql")]


def test_loads_are_bounded_on_a_pod_and_in_all():
    pods = [pod(f"p{number}") for number in range(40)]
    adapters = [adapter(f"a{number}") for number in range(5)]
    places = {one.name: [each.name for each in pods] for one in adapters}
    found = steps(adapters, pods, places, busy={("p0", "other")})
    assert len(found) == IN_ALL - 1
    assert max(Counter(step.pod for step in found).values()) <= PER_POD


def test_popular_adapters_come_first():
    adapters = [adapter("cold", requests_per_second=1), adapter("hot", requests_per_second=9)]
    found = steps(adapters, [pod("p0")], {"hot": ["p0"], "cold": ["p0"]}, busy={("p0", "x")})
    assert found == [LoadAdapter("p0", "hot")]


def test_delays_double_to_a_bound():
    assert [delay_seconds(failures) for failures in (0, 1, 2, 99)] == [0, 5, 10, 300]


def test_draining_waits_for_requests_but_not_for_ever():
    draining, pair = Draining(), ("p0", "sql")
    assert draining.drained(0, [pair], {}) == set()
    assert draining.drained(1, [pair], {pair: 3}) == set()
    assert draining.drained(2, [pair], {pair: 0}) == {pair}
    assert draining.drained(DRAIN_SECONDS, [pair], {pair: 3}) == {pair}
    assert draining.overdue(GIVE_UP_SECONDS) == {pair}
    assert draining.drained(400, [], {}) == set()
    assert draining.drained(401, [pair], {}) == set()


names = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(names, st.one_of(st.none(), st.integers(1, 3)), min_size=1),
    st.lists(st.sets(names), min_size=1, max_size=4),
    st.integers(0, 1000),
)
def test_steps_lead_to_what_is_wanted_and_then_end(wanted: dict[str, int | None], held: list[set[str]], seed: int):
    rng = random.Random(seed)
    pods = [pod(f"p{number}", *loaded) for number, loaded in enumerate(held)]
    every = frozenset(one.name for one in pods)
    adapters = [WantedAdapter(name, "v1", every, replicas) for name, replicas in wanted.items()]
    for _ in range(20):
        places = {one.name: placed(one, pods, rng) for one in adapters}
        pairs = {(one.name, name) for one in pods for name in one.loaded}
        found = steps(adapters, pods, places, drained=pairs)
        if not found:
            break
        pods = [done(one, found) for one in pods]
    assert not found
    for one in adapters:
        holders = {each.name for each in pods if one.name in each.loaded}
        assert len(holders) == min(len(pods), one.replicas or len(pods))


def done(one: AdapterPod, found: list[LoadAdapter | UnloadAdapter]) -> AdapterPod:
    loaded = dict(one.loaded)
    for step in found:
        if step.pod == one.name and isinstance(step, LoadAdapter):
            loaded[step.adapter] = "v1"
        elif step.pod == one.name:
            del loaded[step.adapter]
    return replace(one, loaded=loaded)
