"""A light user beside a flooding one, and sessions that stay where they are."""

from __future__ import annotations

from benchmarks.routing.cluster import Cluster, equal_pods, run
from benchmarks.routing.workloads import chats, flood_and_light

LOST = "10.0.0.3:8000"


def pods_by_session(cluster: Cluster, sessions: int = 60) -> dict[str, set[str]]:
    pods: dict[str, set[str]] = {}
    for served in cluster.run(chats(sessions, per_second=4.0, turns=3)).served:
        pods.setdefault(served.arrival.session, set()).add(served.address)
    return pods


def test_a_light_user_does_not_wait_behind_a_flooding_one():
    workload = flood_and_light(60.0, flood_per_second=9.0, light_per_second=0.5)
    light = {
        strategy: run(workload, strategy, equal_pods(2)).ttft_by_user["light"].p50
        for strategy in ("vtc-basic", "least-request")
    }
    assert light["vtc-basic"] <= light["least-request"] / 2


def test_a_session_stays_on_its_pod():
    pods = pods_by_session(Cluster("session-affinity", equal_pods(8)))
    assert all(len(addresses) == 1 for addresses in pods.values())
    assert len(set.union(*pods.values())) == 8


def test_losing_a_pod_moves_its_sessions_only():
    before = pods_by_session(Cluster("session-affinity", equal_pods(8)))
    diminished = Cluster("session-affinity", equal_pods(8))
    diminished.lose(LOST)
    after = pods_by_session(diminished)
    moved = {session for session in before if before[session] != after[session]}
    assert moved == {session for session in before if before[session] == {LOST}} != set()
    assert len(set.union(*(after[session] for session in moved))) > 1


def test_losing_a_pod_amid_the_traffic_moves_its_sessions_only():
    cluster = Cluster("session-affinity", equal_pods(8))
    cluster.agenda.at(12.0, lambda: cluster.lose(LOST))
    pods = pods_by_session(cluster)
    assert all(addresses - {LOST} for addresses in pods.values() if len(addresses) > 1)
    assert {session for session, addresses in pods.items() if len(addresses) > 1} <= {
        session for session, addresses in pods.items() if LOST in addresses
    }
    assert any(len(addresses) == 2 for addresses in pods.values())
