"""Pods that are to go get no new requests first, and the workload shrinks when they have ended what they had.

    wanted < replicas -> the cheapest victims are marked -> in flight = 0, or `DRAIN_SECONDS` passed -> smaller
    wanted grows again meanwhile -> marks are taken off, and the pods serve on

Marked pods have a deletion cost below 0 (`victims.py`), so a ReplicaSet takes just these. Pods that are not ready have
nothing to end. A workload that goes to zero has no requests, and shrinks at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.victims import DrainCandidate, deletion_costs, victims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAIN_SECONDS = 120.0
"""How long requests are waited for: a long answer at 50 tokens/s has 6,000 tokens by then. Kubernetes' own grace
period comes on top."""


@dataclass(frozen=True, slots=True)
class Leave:
    replicas: int
    """The size to ask for now."""
    marks: Mapping[str, int]
    """By pod, the deletion cost it should have; those that are not named should have no mark."""


@dataclass(slots=True)
class Leaving:
    """Of one workload; remembers who goes since when."""

    drain_seconds: float = DRAIN_SECONDS
    _since: dict[str, float] = field(default_factory=dict)

    def step(self, now: float, replicas: int, wanted: int, pods: Sequence[DrainCandidate]) -> Leave:
        if wanted >= replicas or not pods or not wanted:
            self._since = {}
            return Leave(wanted, {})
        going = victims(pods, replicas - wanted, self._since)
        self._since = {pod: self._since.get(pod, now) for pod in going}
        by_name = {pod.pod: pod for pod in pods}
        gone = sum(self._may_go(by_name[pod], now) for pod in going)
        # Costs say who goes first, so those that may go must stand first.
        order = sorted(going, key=lambda pod: not self._may_go(by_name[pod], now))
        return Leave(replicas - gone, deletion_costs(pods, order))

    def _may_go(self, pod: DrainCandidate, now: float) -> bool:
        """Never in the look that marks it: the gateway is told in the same breath."""
        waited = now - self._since[pod.pod]
        return not pod.ready or (waited > 0 and (not pod.in_flight or waited >= self.drain_seconds))
