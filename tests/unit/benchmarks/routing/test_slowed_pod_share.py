"""A pod that slows to a quarter gets what it can do within two seconds, and its full share ten after it recovers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.routing import workloads
from benchmarks.routing.cluster import Cluster, equal_pods

if TYPE_CHECKING:
    from benchmarks.routing.workloads import Arrival

SLOW_AT, WELL_AT = 40.0, 90.0
FAIR_SHARE, FULL_SHARE = 0.25 / 7.25, 1 / 8


def unshared(seed: int) -> list[Arrival]:
    return workloads.unshared(1100, 8.0, seed)


def chats(seed: int) -> list[Arrival]:
    return workloads.chats(420, 3.0, seed=seed)


LATER_TURNS = {unshared: (), chats: range(3 * workloads.BLOCK_TOKENS, 100 * workloads.BLOCK_TOKENS)}


@pytest.mark.parametrize("workload", [unshared, chats])
def test_a_slowed_pod_is_noticed_and_forgiven(workload):
    slow, well = [], []
    for seed in (1, 2, 3, 4):
        cluster = Cluster("prefix-cache-and-load", equal_pods(8), seed)
        address = cluster.address(2)
        cluster.agenda.at(SLOW_AT, partial(cluster.slow, address, 4.0))
        cluster.agenda.at(WELL_AT, partial(cluster.slow, address, 1.0))
        for served in cluster.run(workload(seed)).served:
            at, there = served.arrival.at_seconds, served.address == address
            if SLOW_AT + 2.0 <= at < WELL_AT:
                slow.append(there)
            # Conversations stay where they went meanwhile; what is new comes back.
            if WELL_AT + 10.0 <= at < WELL_AT + 40.0 and served.arrival.prompt_tokens not in LATER_TURNS[workload]:
                well.append(there)
    assert sum(slow) / len(slow) <= 1.3 * FAIR_SHARE
    assert sum(well) / len(well) >= 0.8 * FULL_SHARE
