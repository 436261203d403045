"""`power-of-two`: two pods at random, and of these the one with fewer requests in flight.

    cost = requests in flight, for the two that were drawn; infinite for the others

Almost as even as least-request, without everybody running to the same idle pod when counts lag behind, as they do
between replicas. Never degrades. Reference: Mitzenmacher 2001.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    import numpy as np

    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest


class PowerOfTwo(Policy):
    """The better of two."""

    name = "power-of-two"
    term_names = ("inflight_requests",)

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Open requests of the two drawn pods."""
        del request
        drawn = self._rng.choice(len(pods), size=min(2, len(pods)), replace=False, shuffle=False).tolist()
        return [(requests if position in drawn else inf,) for position, requests in enumerate(pods.inflight_requests)]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """Any are as good to draw from."""
        del request
        return pods.nothing
