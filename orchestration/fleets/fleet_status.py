"""What a fleet says of itself: counts, and the conditions of a Deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.fleets.fleet_spec import FLEET_LABEL

if TYPE_CHECKING:
    from orchestration.fleets.fleet_spec import FleetSpec


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Clusters."""

    replicas: int
    updated: int
    ready: int
    available: int
    updated_available: int
    progressed_at: float
    """When the newest revision or the newest of its clusters was made."""


@dataclass(frozen=True, slots=True)
class FleetCondition:
    type: str
    status: bool
    reason: str
    message: str


def fleet_figures(spec: FleetSpec, counts: FleetCounts, generation: int) -> dict[str, Any]:
    return {
        "observedGeneration": generation,
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": max(0, spec.replicas - counts.available),
        "scalingTargetSelector": f"{FLEET_LABEL}={spec.name},ray.io/node-type=head",
    }


def fleet_conditions(spec: FleetSpec, counts: FleetCounts, now: float, failure: str = "") -> list[FleetCondition]:
    """`failure`: why a cluster could not be made; empty: none failed."""
    enough = counts.available >= spec.replicas - spec.unavailable
    words = f"{counts.available} of {spec.replicas} clusters are available"
    available = FleetCondition(
        "Available", enough, "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable", words
    )
    found = [available, _progressing(spec, counts, now)]
    return [*found, FleetCondition("ReplicaFailure", bool(failure), "FailedCreate" if failure else "Created", failure)]


def _progressing(spec: FleetSpec, counts: FleetCounts, now: float) -> FleetCondition:
    words = f"{counts.updated_available} of {spec.replicas} clusters are of the newest revision and available"
    if spec.paused:
        return FleetCondition("Progressing", True, "DeploymentPaused", words)
    if counts.updated_available >= spec.replicas and counts.replicas == counts.updated:
        return FleetCondition("Progressing", True, "NewReplicaSetAvailable", words)
    if now - counts.progressed_at > spec.progress_deadline_seconds:
        return FleetCondition("Progressing", False, "ProgressDeadlineExceeded", words)
    return FleetCondition("Progressing", True, "ReplicaSetUpdated", words)
