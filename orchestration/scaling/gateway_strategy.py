"""The gateway policy as a strategy among the others: what the gateway tells is put into it before each decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.gateway_policy import TARGET_SECONDS, GatewayOptions, GatewayPolicy
from orchestration.scaling.samples import Recommendation, Why
from orchestration.scaling.start_times import StartTimes

if TYPE_CHECKING:
    from orchestration.scaling.gateway_policy import GatewayView
    from orchestration.scaling.samples import Observation


@dataclass(slots=True)
class GatewayStrategy:
    target_seconds: float = TARGET_SECONDS
    options: GatewayOptions = field(default_factory=GatewayOptions)
    starts: StartTimes = field(default_factory=StartTimes)
    view: GatewayView | None = None
    """None while not every replica of the gateway told its load: then nothing changes."""
    _policy: GatewayPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._policy = GatewayPolicy(self.options)

    def recommend(self, seen: Observation) -> Recommendation:
        if self.view is None:
            return Recommendation(seen.replicas, Why.NO_METRICS)
        return self._policy.recommend(self.view, self.starts.seconds())
