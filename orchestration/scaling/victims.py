"""Which pods go first when a workload shrinks: those whose going costs least.

    cost = requests in flight, then what its prefix cache saves (hit tokens of the last minutes), then age

Kubernetes' ReplicaSet deletes pods of the lowest `controller.kubernetes.io/pod-deletion-cost` first, among pods that
are equally ready. A pod that was chosen is drained first, and stays chosen while the size stays small: choosing anew
each time would drain one pod after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
DRAINING = "model.aibrix.ai/draining"
"""An annotation of a pod; `"true"`: it gets no new requests."""


@dataclass(frozen=True, slots=True)
class DrainCandidate:
    pod: str
    ready: bool
    in_flight: int
    cached_tokens: float
    """Prompt tokens that its cache saved lately."""
    created_at_seconds: float


def victims(pods: Sequence[DrainCandidate], fewer: int, chosen: Collection[str] = ()) -> tuple[str, ...]:
    """The names of `fewer` pods, those first that go first; `chosen`: those of last time."""

    def cost(pod: DrainCandidate) -> tuple[bool, bool, int, float, float, str]:
        # Of pods that are alike the youngest goes: its cache is the coldest.
        return (pod.ready, pod.pod not in chosen, pod.in_flight, pod.cached_tokens, -pod.created_at_seconds, pod.pod)

    return tuple(pod.pod for pod in sorted(pods, key=cost)[: max(0, fewer)])


def deletion_costs(pods: Sequence[DrainCandidate], going: Sequence[str]) -> dict[str, int]:
    """The annotation's value for each pod that goes; others have none, which means 0."""
    return {pod: place - len(going) for place, pod in enumerate(going) if any(one.pod == pod for one in pods)}
