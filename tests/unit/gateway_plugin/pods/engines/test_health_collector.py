from __future__ import annotations

from prometheus_client import CollectorRegistry

from gateway_plugin.pods.engines.health_collector import HealthCollector
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def table(*names: str) -> PodTable:
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(name=name, address=f"{name}:8000", models=("m",)) for name in names)
    pods.apply(ClusterState(specs, frozenset()))
    return pods


def row(pods: PodTable, name: str) -> int:
    found = pods.row_of(f"{name}:8000")
    assert found is not None
    return found


def samples(pods: PodTable) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(HealthCollector(pods, {"passed": 1, "failed": 2}))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_states_sleep_and_failures_by_pod():
    pods = table("well", "sick", "tired")
    pods.health.failed(row(pods, "sick"), Failure.RESET)
    pods.health.failed(row(pods, "sick"), Failure.UNAVAILABLE)
    pods.polled(row(pods, "tired"), pods.incarnation(row(pods, "tired")), {}, asleep=True)
    assert samples(pods) == {
        ("gateway_pod_circuit_state", "well"): 0,
        ("gateway_pod_circuit_state", "sick"): 2,
        ("gateway_pod_circuit_state", "tired"): 0,
        ("gateway_pod_asleep", "well"): 0,
        ("gateway_pod_asleep", "sick"): 0,
        ("gateway_pod_asleep", "tired"): 1,
        ("gateway_pod_failures_total", "sick", "reset"): 1,
        ("gateway_pod_failures_total", "sick", "unavailable"): 1,
        ("gateway_pod_circuit_transitions_total", "open", "unavailable"): 1,
        ("gateway_pod_checks_total", "passed"): 1,
        ("gateway_pod_checks_total", "failed"): 2,
    }


def test_a_pod_that_is_gone_leaves_only_the_transitions():
    pods = table("a", "b")
    pods.health.failed(row(pods, "a"), Failure.UNAVAILABLE)
    pods.apply(ClusterState((), frozenset()))
    assert {key for key in samples(pods) if key[0] != "gateway_pod_checks_total"} == {
        ("gateway_pod_circuit_transitions_total", "open", "unavailable")
    }
