"""`random`: uniform over the ready pods.

cost = 0 for every pod; the chooser breaks ties at random. Never degrades, and ignores load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policy import Policy

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView


class Random(Policy):
    """Every pod costs the same."""

    name = "random"
    one_by_one = True

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """Zeros."""
        del request
        return {"none": pods.nothing}
