"""Scaling by what the gateway tells: its figures for the policy, and who is drained before a workload shrinks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from orchestration.scaling.gateway_policy import GatewayView
from orchestration.scaling.gateway_strategy import GatewayStrategy
from orchestration.scaling.leaving import Leave, Leaving
from orchestration.scaling.victims import DrainCandidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.controller.autoscaling.pod_facts import PodFacts
    from gateway_plugin.controller.gateway_demand import PodLoad
    from gateway_plugin.controller.served_totals import ServedTotals


class Demand(Protocol):
    """What the gateway knows of a model, and of pods."""

    def idle_seconds(self, model: str) -> float: ...
    def waiting(self, model: str) -> int: ...
    def in_flight(self, model: str) -> int | None: ...
    def served(self, model: str) -> ServedTotals: ...
    def pod(self, address: str) -> PodLoad: ...


@dataclass(slots=True)
class GatewayScaling:
    """Of one autoscaler."""

    strategy: GatewayStrategy = field(default_factory=GatewayStrategy)
    leaving: Leaving = field(default_factory=Leaving)

    def see(self, now: float, model: str, replicas: int, pods: Sequence[PodFacts], demand: Demand) -> None:
        """Puts what the gateway tells now before the policy."""
        for pod in pods:
            if pod.start_seconds is not None:
                self.strategy.starts.took(pod.uid, pod.start_seconds)
        in_flight = demand.in_flight(model)
        ready = [pod for pod in pods if pod.ready and pod.mark is None]
        loads = [demand.pod(pod.address) for pod in ready]
        usages = [load.kv_usage for load in loads if load.kv_usage is not None]
        served, held = demand.served(model), demand.waiting(model)
        self.strategy.view = None if in_flight is None else GatewayView(
            at_seconds=now,
            replicas=replicas,
            ready=len(ready),
            in_flight=in_flight,
            busiest=max((load.in_flight for load in loads), default=0),
            held=held,
            kv_usage=sum(usages) / len(usages) if usages else None,
            arrived_total=served.requests + held,
            first_tokens_total=served.first_tokens,
            late_total=served.later_than(self.strategy.target_seconds),
            first_token_seconds_total=served.first_token_seconds,
            # Of streams the time after the first token; of other requests all of it.
            decoded_total=served.ended,
            decode_seconds_total=max(0.0, served.ended_seconds - served.first_token_seconds),
        )  # fmt: skip

    def leave(self, now: float, replicas: int, wanted: int, pods: Sequence[PodFacts], demand: Demand) -> Leave:
        candidates = [
            DrainCandidate(pod.name, pod.ready, demand.pod(pod.address).in_flight, 0.0, pod.created_at_seconds)
            for pod in pods
        ]
        return self.leaving.step(now, replicas, wanted, candidates)
