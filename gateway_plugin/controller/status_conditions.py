"""Conditions of an object's status: what is so, why, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class StatusCondition:
    """One condition; its time is that of its last change."""

    type: str
    status: Truth
    reason: str
    message: str = ""


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
            "lastTransitionTime": since or api_time(now),
        }
    return list(by_type.values())


def api_time(moment: datetime) -> str:
    """As the API writes times, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
