"""`random`: uniform over the ready pods.

cost = 0 for every pod; the chooser breaks ties at random. Never degrades, and ignores load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest


class Random(Policy):
    """Every pod costs the same."""

    name = "random"
    term_names = ("none",)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """Zeros."""
        del request
        return [(0.0,)] * len(pods)

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """Any are as good."""
        del request
        return pods.nothing
