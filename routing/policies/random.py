"""`random`: uniform over the ready pods.

cost = 0 for every pod; the chooser breaks ties at random. Never degrades, and ignores load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.few_pods import FewPods
    from routing.policy import RoutingRequest
    from routing.view import PodView


class Random(Policy):
    """Every pod costs the same."""

    name = "random"

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Zeros."""
        del request
        return {"none": pods.nothing}

    def few_costs(self, pods: FewPods, request: RoutingRequest) -> list[float]:
        """As `terms`."""
        del request
        return pods.nothing
