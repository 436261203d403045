"""What a plan is made for: the traffic of a model, the deployments that may serve it, and the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestration.optimizer.gpu_profiles import GpuProfile
    from orchestration.optimizer.request_cells import Cell


@dataclass(frozen=True, slots=True)
class PodBounds:
    """Of one deployment."""

    least: int = 0
    most: int | None = None
    present: int = 0


@dataclass(frozen=True, slots=True)
class GpuDemand:
    """One model: its requests a second by cell, and the deployments that may serve it."""

    model: str
    rates: Mapping[Cell, float]
    profiles: Sequence[GpuProfile]
    bounds: Mapping[str, PodBounds] = field(default_factory=dict)
    """By deployment; without one 0 and any number."""


@dataclass(frozen=True, slots=True)
class PlanRules:
    utilization: float = 0.85
    """Of what a profile says a pod can do: arrivals are not even."""
    change_cost: float = 0.0
    """Of a pod that is added, in the unit of costs: larger, and plans change less."""
    available: Mapping[str, int] = field(default_factory=dict)
    """Pods of a GPU type that there can be, over all models; without one, any number."""
    seconds: float = 4.0
    """For all programs together; then the best plan found so far is taken, with its gap."""
    gap: float = 1e-4
    """To the best plan there may be, as a share: one that near is taken, less than a pod of ten thousand."""
