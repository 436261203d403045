"""The ring's workloads: what they say of themselves, and that runs of them come to an end."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from statistics import median

import pytest

from benchmarks.routing.cluster import Cluster, equal_pods
from benchmarks.routing.contest import Contest, hold
from benchmarks.routing.fleets import fleet
from benchmarks.routing.sources import adapters_mix, ask, coding_agents, conversations, diurnal, lengths_like_azure
from benchmarks.routing.weather import pods_come_and_go
from benchmarks.routing.workloads import named
from benchmarks.routing.works import WORKS


@pytest.mark.parametrize("name", WORKS)
def test_every_workload_is_served(name: str):
    report = hold(Contest(name, 0.9, "1", "prefix-cache-and-load", 2, 100))
    assert len(report.served) >= 60
    assert (report.refused, report.failed) == (0, 0)


@pytest.mark.parametrize("name", [name for name, work in WORKS.items() if not work.is_closed])
def test_rates_are_shares_of_the_capacity(name: str):
    work = WORKS[name]
    arrivals = work.arrivals(0.5, 1500, 3)
    assert arrivals == sorted(arrivals, key=lambda each: each.at_seconds)
    rate = len(arrivals) / arrivals[-1].at_seconds
    assert rate == pytest.approx(0.5 * work.capacity_per_second, rel=0.35)


def test_a_seed_gives_the_same_arrivals_again():
    for work in WORKS.values():
        assert work.arrivals(0.9, 80, 5) == work.arrivals(0.9, 80, 5)
        assert work.arrivals(0.9, 80, 5) != work.arrivals(0.9, 80, 6)


def test_the_next_turn_repeats_question_and_answer():
    sessions: dict[str, list[tuple[int, ...]]] = {}
    for each in conversations(1200, 10.0, 1):
        turns = sessions.setdefault(each.session, [])
        if turns:
            assert each.prefix[: len(turns[-1])] == turns[-1]
        turns.append((*each.prefix, *each.kept))
    assert max(map(len, sessions.values())) >= 5


def test_adapters_share_no_keys():
    by_adapter = {each.adapter: set(each.prefix) for each in adapters_mix(300, 10.0, 1)}
    assert len(by_adapter) > 8
    assert len(set.union(*by_adapter.values())) == sum(map(len, by_adapter.values()))


def test_answers_keep_their_blocks_under_an_adapter_too():
    plain, adapted = (ask(0.0, named(1, 2), 600, answer=named(2, 1), adapter=name) for name in ("", "adapter-1"))
    for each in (plain, adapted):
        assert (len(each.prefix), len(each.kept)) == (2, 1)
    assert not set(plain.prefix) & set(adapted.prefix)


def test_lengths_are_like_azures():
    arrivals = lengths_like_azure(4000, 10.0, 1)
    assert median(each.prompt_tokens for each in arrivals) == pytest.approx(1020, rel=0.1)
    assert sum(each.output_tokens for each in arrivals) / 4000 == pytest.approx(211, rel=0.1)


def test_the_day_swings_to_a_ninth_above_the_load_of_a_tenth_less():
    arrivals = diurnal(4000, 10.0, 1)
    seconds = arrivals[-1].at_seconds
    counts = [0] * 20
    for each in arrivals:
        counts[min(19, int(20 * each.at_seconds / seconds))] += 1
    rates = [count / (seconds / 20) for count in counts]
    assert max(rates) == pytest.approx(12.2, rel=0.15)
    assert min(rates) == pytest.approx(3.4, rel=0.4)


def test_agents_wait_for_answers():
    cluster = Cluster("least-request", equal_pods(2))
    report = cluster.run(coding_agents(3, 10, 1))
    assert len(report.served) == 30
    for user in {each.arrival.user for each in report.served}:
        calls = sorted(
            (each for each in report.served if each.arrival.user == user), key=lambda each: each.arrival.at_seconds
        )
        for before, after in pairwise(calls):
            assert after.arrival.at_seconds >= before.arrival.at_seconds + before.duration_seconds + 0.3


def test_a_slow_pod_is_slow():
    cluster = Cluster("random", equal_pods(1))
    cluster.slow(cluster.address(0), 4.0)
    slow = cluster.run([ask(0.0, named(1, 4), 10)])
    fast = Cluster("random", equal_pods(1)).run([ask(0.0, named(1, 4), 10)])
    assert slow.ttft.mean - 0.03 == pytest.approx(4 * (fast.ttft.mean - 0.03), rel=0.2)


def test_pods_that_come_are_used_and_pods_that_go_end_what_they_have():
    cluster = Cluster("prefix-cache-and-load", fleet("default", 8))
    for weather in pods_come_and_go(30.0):
        cluster.agenda.at(weather.at_seconds, partial(weather.befall, cluster))
    report = cluster.run(conversations(450, 15.0, 1))
    assert (report.failed, report.refused) == (0, 0)
    assert len(report.addresses) == 12
    assert all(report.requests_by_pod.values())
    late = {each.address for each in report.served if each.arrival.at_seconds > 23.0}
    assert not late & set(report.addresses[:4])


def test_first_tokens_that_are_told_live_teach_before_the_log():
    told = Cluster("prefix-cache-and-load", equal_pods(1), told_live=1.0)
    late = Cluster("prefix-cache-and-load", equal_pods(1))
    for cluster in (told, late):
        cluster.run([ask(0.0, named(1, 4), 10)])
        assert cluster.table.columns.pace_tokens_squared[0] > 0
