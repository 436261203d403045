"""`power-of-two`: two pods at random, and of these the one with fewer requests in flight.

    cost = requests in flight, for the two that were drawn; infinite for the others

Almost as even as least-request, without everybody running to the same idle pod when counts lag behind, as they do
between replicas. Never degrades. Reference: Mitzenmacher 2001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView


class PowerOfTwo(Policy):
    """The better of two."""

    name = "power-of-two"

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Open requests of the two drawn pods."""
        del request
        drawn = self._rng.choice(len(pods), size=min(2, len(pods)), replace=False, shuffle=False)
        cost = np.full(len(pods), np.inf)
        cost[drawn] = pods.inflight_requests[drawn]
        return {"inflight_requests": cost}
