"""What is written into a PodAutoscaler's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.status_conditions import StatusCondition, api_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestration.scaling.autoscaler import SizeDecision

MOST_HISTORY = 5
"""Entries of `status.scalingHistory`, as AIBrix keeps."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """A change of size that was tried."""

    at: datetime
    before: int
    after: int
    why: str
    error: str = ""


def conditions_of(decision: SizeDecision, unread: Sequence[str]) -> list[StatusCondition]:
    """For an autoscaler whose specification is right and whose target was found."""
    missing = f"; nothing was read of {', '.join(unread)}" if unread else ""
    return [
        StatusCondition("ValidSpec", "True", "AsExpected"),
        StatusCondition("AbleToScale", "True", "AsExpected"),
        StatusCondition("ScalingActive", "True", "AsExpected", missing.lstrip("; "))
        if decision.active
        else StatusCondition("ScalingActive", "False", "NoMetrics", decision.why + missing),
        StatusCondition("ScalingLimited", "True", "AtBound", decision.why)
        if decision.limited
        else StatusCondition("ScalingLimited", "False", "AsExpected"),
        StatusCondition("Ready", "True", "AsExpected"),
    ]


def refused(reason: str, message: str, kind: str = "ValidSpec") -> list[StatusCondition]:
    """For one that cannot be followed."""
    return [
        StatusCondition(kind, "False", reason, message),
        StatusCondition("ScalingActive", "False", reason, message),
        StatusCondition("Ready", "False", reason, message),
    ]


def history(present: Sequence[Mapping[str, Any]], latest: Rescale) -> list[dict[str, Any]]:
    """The newest last."""
    entry = {
        "timestamp": api_time(latest.at),
        "previousScale": latest.before,
        "newScale": latest.after,
        "reason": latest.why,
        "success": not latest.error,
    }
    return [*(dict(one) for one in present), entry | ({"error": latest.error} if latest.error else {})][-MOST_HISTORY:]
