"""Conditions in the status of Gateways, routes and policies: what they say, and whether anybody says anything."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.controller.workloads import Raw

PATIENCE_SECONDS = 60.0
"""Gateways answer within a second; what waits longer is looked at by nobody."""
_MAX_MESSAGE = 300
"""What people read in a table."""


def words_of(condition: Mapping[str, Any]) -> str:
    """In one sentence."""
    reason, message = condition.get("reason", "no reason"), str(condition.get("message", "")).rstrip(".")
    return f"{condition.get('type')} is {condition.get('status')} ({reason}): {message[:_MAX_MESSAGE]}"


def is_pending(condition: Mapping[str, Any], about: Raw, now: datetime) -> bool:
    """Whether nobody has decided, and not because the object is new."""
    return condition.get("status") == "Unknown" and age_seconds(about, now) > PATIENCE_SECONDS


def age_seconds(raw: Raw, now: datetime) -> float:
    """Since the object was created; 0 when it does not say."""
    try:
        created = datetime.fromisoformat(str((raw.get("metadata") or {}).get("creationTimestamp")))
    except ValueError:
        return 0.0
    return (now - created).total_seconds() if created.tzinfo else 0.0
