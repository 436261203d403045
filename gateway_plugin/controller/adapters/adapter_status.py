"""A ModelAdapter's phase and conditions, from what its pods hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.status_conditions import StatusCondition

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AdapterState:
    """How one adapter stands."""

    candidates: int
    """Ready pods that its selector matches."""
    desired: int
    instances: tuple[str, ...]
    """Pods that have it."""
    failures: Mapping[str, tuple[str, str]]
    """By pod: reason and words of what went wrong last."""
    error: tuple[str, str] | None = None
    """Its own: it cannot be loaded anywhere."""
    first_use: bool = False
    was_loaded: bool = False
    """When it was looked at before."""

    @property
    def phase(self) -> str:
        if self.error is not None or (self.failures and not self.instances):
            return "Failed"
        if self.instances:
            return "Running"
        if self.desired:
            return "Scheduled"
        return "Evicted" if self.first_use and self.was_loaded and self.candidates else "Pending"


def adapter_status(state: AdapterState) -> dict[str, Any]:
    """Without conditions; those keep their times."""
    return {
        "phase": state.phase,
        "instances": list(state.instances),
        "candidates": state.candidates,
        "desiredReplicas": state.desired,
        "readyReplicas": len(state.instances),
    }


def adapter_conditions(state: AdapterState) -> list[StatusCondition]:
    placed = bool(state.desired)
    candidates = f"{state.candidates} pods could hold it"
    first = [
        StatusCondition("Initialized", "True", "ModelAdapterPending"),
        StatusCondition("Scheduled", "True" if placed else "False", "Scheduled" if placed else "NoPods", candidates),
    ]
    reason, words = _worst(state)
    if not state.instances:
        return [
            *first,
            StatusCondition("Bound", "False", reason, words),
            StatusCondition("Ready", "False", reason, words),
        ]
    missing = state.desired - len(state.instances)
    message = f"on {len(state.instances)} of {state.desired} pods; {reason} {words}".rstrip() if missing > 0 else ""
    return [
        *first,
        StatusCondition("Bound", "True", "ModelAdapterLoaded"),
        StatusCondition("ResourceCreated", "True", "ServiceCreated"),
        StatusCondition("Ready", "True", "ModelAdapterAvailable", message),
    ]


def _worst(state: AdapterState) -> tuple[str, str]:
    if state.error is not None:
        return state.error
    if not state.candidates:
        return "NoPods", "no ready pod matches podSelector"
    if state.phase == "Evicted":
        return "Evicted", "others were used more; the next request loads it again"
    if state.first_use and not state.desired and not state.failures:
        return "NotUsedYet", "the first request loads it"
    if state.failures:
        pod, (reason, words) = min(state.failures.items())
        return reason, f"{pod}: {words}"
    return "ModelAdapterLoading", ""
