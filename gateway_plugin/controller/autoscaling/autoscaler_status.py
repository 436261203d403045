"""What is written into a PodAutoscaler's status, and when: only when it says something new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestration.scaling.autoscaler import SizeDecision

MOST_HISTORY = 5
"""Entries of `status.scalingHistory`, as AIBrix keeps."""


@dataclass(frozen=True, slots=True)
class StatusCondition:
    """One condition; its time is that of its last change."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


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


def merged(
    present: Sequence[Mapping[str, Any]], wanted: Sequence[StatusCondition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The conditions to write: those of other types stay, and a status that stays the same keeps its time."""
    by_type = {str(one.get("type")): dict(one) for one in present}
    for condition in wanted:
        old = by_type.get(condition.type, {})
        since = old.get("lastTransitionTime") if old.get("status") == condition.status else None
        by_type[condition.type] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": since or _text(now),
        }
    return list(by_type.values())


def history(present: Sequence[Mapping[str, Any]], latest: Rescale) -> list[dict[str, Any]]:
    """The newest last."""
    entry = {
        "timestamp": _text(latest.at),
        "previousScale": latest.before,
        "newScale": latest.after,
        "reason": latest.why,
        "success": not latest.error,
    }
    return [*(dict(one) for one in present), entry | ({"error": latest.error} if latest.error else {})][-MOST_HISTORY:]


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
