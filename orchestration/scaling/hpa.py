"""The algorithm of Kubernetes' HorizontalPodAutoscaler for a metric of pods.

    ratio = mean of ready pods / target          |1 - ratio| <= tolerance: nothing changes
    replicas = ceil(ratio * pods that were counted)

Pods that told nothing count as the target when scaling down and as 0 when scaling up; pods that are not ready count
as 0 when scaling up. Where that turns the ratio round, or into the tolerance, nothing changes. Source: Kubernetes,
`pkg/controller/podautoscaler/replica_calculator.go`, and its documentation of the algorithm. Degrades to the present
size when no pod told anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.scaling.samples import Recommendation, Why

if TYPE_CHECKING:
    from orchestration.scaling.samples import Observation

TOLERANCE = 0.1
"""Kubernetes' own default (`--horizontal-pod-autoscaler-tolerance`)."""


@dataclass(frozen=True, slots=True)
class Hpa:
    """Stateless: `behavior.py` remembers what must be remembered."""

    target: float
    up_tolerance: float = TOLERANCE
    down_tolerance: float = TOLERANCE

    def recommend(self, seen: Observation) -> Recommendation:
        known = seen.known
        if not known:
            return Recommendation(seen.replicas, Why.NO_METRICS)
        ratio = sum(known) / len(known) / self.target
        values = list(known)
        if seen.missing:
            values += [self.target if ratio < 1 else 0.0] * seen.missing
        if ratio > 1:
            values += [0.0] * (len(seen.pods) - seen.ready)
        return self._sized(seen.replicas, ratio, sum(values) / len(values) / self.target, len(values))

    def _sized(self, replicas: int, ratio: float, careful: float, counted: int) -> Recommendation:
        turned = ratio >= 1 > careful or ratio <= 1 < careful
        if self._within(careful) or turned:
            return Recommendation(replicas, Why.WITHIN_TOLERANCE)
        # The rounding of a ratio that is a whole number in exact arithmetic must not cost a pod.
        wanted = math.ceil(round(careful * counted, 9))
        against = (careful < 1 and wanted > replicas) or (careful > 1 and wanted < replicas)
        if against:
            return Recommendation(replicas, Why.WITHIN_TOLERANCE)
        return Recommendation(wanted, Why.ABOVE if careful > 1 else Why.BELOW)

    def _within(self, ratio: float) -> bool:
        # A hair's breadth for what floats make of 0.55 / 0.5 - 1.
        return -self.down_tolerance - 1e-9 <= ratio - 1 <= self.up_tolerance + 1e-9
