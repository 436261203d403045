"""For operators: which pods are sick or asleep, what spoke against them, and how circuits move.

A collector over the pod table, as in `engines.collector`: a pod that is gone leaves no series behind. Pods that never
failed have the series of their state alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from routing.pods.circuit import CircuitState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from routing.pods.pod_table import PodTable

_STATES = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


class HealthCollector(Collector):
    """Register it with the registry of the process. Series are bounded by the pods; names of pods must be unique."""

    def __init__(self, table: PodTable, checks: Mapping[str, int]) -> None:
        self._table = table
        self._checks = checks

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        yield from self._pods()
        transitions = CounterMetricFamily(
            "gateway_pod_circuit_transitions",
            "Circuits that entered a state, by what had opened them; closed ones have recovered.",
            labels=["state", "reason"],
        )
        for (state, reason), count in self._table.health.transitions.items():
            transitions.add_metric([state.value, reason or "recovered"], count)
        yield transitions
        checks = CounterMetricFamily("gateway_pod_checks", "Light checks of sick pods, by outcome.", labels=["outcome"])
        for outcome, count in self._checks.items():
            checks.add_metric([outcome], count)
        yield checks

    def _pods(self) -> Iterator[Metric]:
        health = self._table.health
        state = GaugeMetricFamily(
            "gateway_pod_circuit_state", "0 closed (well), 1 half-open (probed), 2 open (left out).", labels=["pod"]
        )
        asleep = GaugeMetricFamily("gateway_pod_asleep", "1 while the engine says that it sleeps.", labels=["pod"])
        failures = CounterMetricFamily(
            "gateway_pod_failures", "What spoke against a pod, by kind.", labels=["pod", "kind"]
        )
        for row, pod in self._table.items():
            state.add_metric([pod.name], _STATES[health.state(row)])
            asleep.add_metric([pod.name], health.is_asleep(row))
            circuit = health.circuit(row)
            for kind, count in circuit.failures.items() if circuit else ():
                failures.add_metric([pod.name, kind], count)
        yield from (state, asleep, failures)
