"""What a `targetValue` means: `'0.5'` and `'50'` are both a half where the metric is a ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.scaling.metric_aliases import PodMetric

UNITS = ("ratio", "percent", "raw")
"""Allowed in the annotation `autoscaling.aibrix.ai/target-unit`."""
_HUNDRED = 100.0


@dataclass(frozen=True, slots=True)
class TargetValue:
    """In the metric's own unit; above 0."""

    value: float
    read_as_percent: bool = False
    """It was more than a ratio can be, and nobody said what it is: worth an event."""


def target_of(text: str, metric: PodMetric | None, unit: str | None = None) -> TargetValue:
    """Of ratios, more than 1 and at most 100 is percent. ValueError when it cannot be meant."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"targetValue {text!r} is no number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"targetValue {text!r} must be above 0")
    if unit == "percent":
        return TargetValue(value / _HUNDRED)
    if unit in ("ratio", "raw") or metric is None or not metric.ratio or value <= 1:
        return TargetValue(value)
    if value > _HUNDRED:
        raise ValueError(f"targetValue {text!r} of {metric.name}: a ratio is at most 1, or 100 percent")
    return TargetValue(value / _HUNDRED, read_as_percent=True)
