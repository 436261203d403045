"""Generated traffic has the properties that it is named for."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.routing.scenarios import all_scenarios, rising_load
from benchmarks.routing.workloads import AGENT_KINDS, SYSTEM_BLOCKS, Arrival, agents, bursts, flood_and_light


def shared_ratio(arrivals: list[Arrival]) -> float:
    blocks = [key for each in arrivals for key in each.prefix]
    return 1.0 - len(set(blocks)) / len(blocks)


def test_agents_grow_their_context_and_fan_out():
    arrivals = agents(8, per_second=1.0, steps=10, fan_out=4)
    by_run = Counter(each.session for each in arrivals)
    assert set(by_run.values()) == {10 + 4 * 3}
    run = [each for each in arrivals if each.session == "run-0"]
    assert len({each.prefix[:SYSTEM_BLOCKS] for each in run}) == 1
    half = SYSTEM_BLOCKS + 5
    helpers = [each for each in run if len(each.prefix) == half + 1]
    assert len(helpers) == 4 + 1, "four helpers' first questions, and the run's own next"
    assert len({each.prefix[:half] for each in helpers}) == 1
    assert len({each.prefix for each in helpers}) == 5
    assert len({each.prefix[:SYSTEM_BLOCKS] for each in arrivals}) == AGENT_KINDS
    assert [len(each.prefix) for each in run[:5]] == [9, 10, 11, 12, 13]


def test_bursts_come_at_once_and_share_their_document():
    arrivals = bursts(45.0, per_second=2.0, size=7)
    jobs = [each for each in arrivals if each.user == "batch"]
    assert Counter(each.at_seconds for each in jobs) == {10.0: 7, 30.0: 7}
    assert len({each.prefix[:4] for each in jobs}) == 2
    assert len({each.prefix for each in jobs}) == 14
    assert shared_ratio([each for each in arrivals if each.user == "steady"]) == 0.0


def test_one_floods():
    users = Counter(each.user for each in flood_and_light(60.0, 16.0, 0.4, light_users=5))
    assert users == {"flood": 960, **{f"light-{number}": 24 for number in range(5)}}


@pytest.mark.parametrize("scenario", all_scenarios(size=0.05), ids=lambda scenario: str(scenario.name))
def test_scenarios_are_in_order_of_time_and_the_same_for_a_seed(scenario):
    arrivals = scenario.workload(1)
    assert arrivals == scenario.workload(1)
    assert [each.at_seconds for each in arrivals] == sorted(each.at_seconds for each in arrivals)
    assert (shared_ratio(arrivals) > 0.0) == scenario.shares_prefixes or scenario.name == "bursts"
    most = max(each.prompt_tokens + each.output_tokens for each in arrivals)
    assert all(most <= pod.max_model_len for pod in scenario.pods), "nothing is refused for its length"


def test_load_rises():
    begun = {rate: len({each.session for each in scenario.workload(0)}) for rate, scenario in rising_load().items()}
    assert list(begun) == sorted(begun)
    assert [round(sessions / rate) for rate, sessions in begun.items()] == [10] * len(begun), "a minute of each"
