"""The gateway policy as the controller runs it: counters of the gateway every five seconds, start-up times learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.gateway_policy import GatewayOptions, GatewayPolicy, GatewayView
from orchestration.scaling.start_times import StartTimes

if TYPE_CHECKING:
    from benchmarks.scaling.fleet import Fleet


@dataclass(slots=True)
class Own:
    options: GatewayOptions
    tick_seconds: float = 5.0
    spares_busy_pods: bool = True
    _policy: GatewayPolicy = field(init=False)
    _starts: StartTimes = field(default_factory=StartTimes)

    def __post_init__(self) -> None:
        self._policy = GatewayPolicy(self.options)

    def size(self, fleet: Fleet) -> int:
        for pod in fleet.pods:
            if pod.ready and pod.ready_at > pod.asked_at:
                self._starts.took(str(pod.number), pod.ready_at - pod.asked_at)
        ready = fleet.ready
        view = GatewayView(
            at_seconds=fleet.now,
            replicas=len(fleet.staying),
            ready=len(ready),
            in_flight=sum(pod.in_flight for pod in ready),
            busiest=max((pod.in_flight for pod in ready), default=0),
            held=len(fleet.held),
            kv_usage=sum(pod.engine.cache.usage for pod in ready) / len(ready) if ready else None,
            arrived_total=fleet.arrived,
            first_tokens_total=fleet.first_tokens,
            late_total=fleet.late,
            first_token_seconds_total=fleet.first_token_seconds,
            decoded_total=fleet.finished,
            decode_seconds_total=fleet.decode_seconds,
        )
        return self._policy.recommend(view, self._starts.seconds()).replicas
