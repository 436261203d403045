"""One workload's autoscaler: the largest of its metrics' wishes, paced, within its bounds.

    size = bounds(paced(max over metrics of recommendation))

A metric of which nothing is known wishes for the present size, so it can stop a scale-down and never a scale-up; with
no metric known at all nothing changes but what the bounds demand. A size of 0 is left by `wake` only (a request that
waits), by a minimum above it, or by a metric that can be known without pods.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.behavior import Behavior, Pacing
from orchestration.scaling.samples import Why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.scaling.samples import Observation
    from orchestration.scaling.schedules import SizeBounds
    from orchestration.scaling.strategies import Strategy


@dataclass(frozen=True, slots=True)
class SizeDecision:
    replicas: int
    why: str
    active: bool
    """Some metric was known: the condition `ScalingActive`."""
    limited: bool
    """The bounds stopped a wish: the condition `ScalingLimited`."""


@dataclass(slots=True)
class Autoscaler:
    """Remembers what its strategies and its pacing remember; everything else comes with each call."""

    strategies: Sequence[Strategy]
    behavior: Behavior
    activation_scale: int = 1
    idle_seconds: float | None = None
    """After so long without a request the size may be 0; None: never."""
    _pacing: Pacing = field(init=False)

    def __post_init__(self) -> None:
        self._pacing = Pacing(self.behavior)

    def decide(
        self, seen: Sequence[Observation], bounds: SizeBounds, *, idle_for_seconds: float = 0.0, waiting: int = 0
    ) -> SizeDecision:
        """`seen`: one observation for each strategy, at one moment; `waiting`: requests held for lack of pods."""
        now, replicas = seen[0].at_seconds, seen[0].replicas
        if replicas == 0 and bounds.minimum == 0:
            return self._from_zero(bounds, waiting)
        wishes = [one.recommend(what) for one, what in zip(self.strategies, seen, strict=True)]
        active = any(wish.why != Why.NO_METRICS for wish in wishes)
        if self._idle(idle_for_seconds, waiting, bounds):
            return SizeDecision(0, Why.ZERO, active=active, limited=False)
        paced = self._pacing.paced(now, replicas, max(wishes, key=lambda wish: wish.replicas))
        wanted = max(paced.replicas, 1)
        within = bounds.within(wanted)
        return SizeDecision(
            within, paced.why if within == wanted else Why.BOUNDS, active=active, limited=within != wanted
        )

    def changed(self, now: float, before: int, after: int) -> None:
        """The size was changed, by this autoscaler or by somebody else."""
        self._pacing.changed(now, before, after)

    def _from_zero(self, bounds: SizeBounds, waiting: int) -> SizeDecision:
        wanted = max(1, self.activation_scale) if waiting else 0
        within = bounds.within(wanted)
        return SizeDecision(within, Why.ACTIVATION if waiting else Why.ZERO, active=True, limited=within != wanted)

    def _idle(self, idle_for_seconds: float, waiting: int, bounds: SizeBounds) -> bool:
        if self.idle_seconds is None or waiting or bounds.minimum > 0:
            return False
        return idle_for_seconds >= self.idle_seconds
