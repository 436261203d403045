"""What is known of a workload's pods when its size is decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodSample:
    """One pod and one metric."""

    ready: bool
    value: float | None = None
    """In the metric's own unit; None where nothing could be read, which is never the same as 0."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A workload at one moment."""

    at_seconds: float
    replicas: int
    """What the workload is asked to have, pods that are still starting among them."""
    pods: tuple[PodSample, ...] = ()

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.pods)

    @property
    def known(self) -> tuple[float, ...]:
        """The values of ready pods."""
        return tuple(pod.value for pod in self.pods if pod.ready and pod.value is not None)

    @property
    def missing(self) -> int:
        """Ready pods of which nothing could be read."""
        return self.ready - len(self.known)

    def total(self, target: float) -> float | None:
        """The sum over ready pods, or None when no pod told anything.

        As Kubernetes' HPA has it, a pod that told nothing speaks against every change: it counts as the target where
        the others are below it, and as 0 where they are above it.
        """
        known = self.known
        if not known:
            return None
        below = sum(known) < target * len(known)
        return sum(known) + (target * self.missing if below else 0.0)


class Why:
    """Why a size was recommended; stands in events and conditions."""

    NO_METRICS = "no pod told its metric: nothing changes"
    WITHIN_TOLERANCE = "within tolerance"
    ABOVE = "above target"
    BELOW = "below target"
    PANIC = "panic: the short window is far above target"
    DELAYED = "a larger size was wanted a short while ago"
    LIMITED = "limited by the rate of change"
    BOUNDS = "limited by minimum and maximum"
    ZERO = "no request for long enough"
    ACTIVATION = "activation scale"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A size, and why."""

    replicas: int
    why: str
