"""`random`: uniform over the ready pods.

cost = 0 for every pod; the chooser breaks ties at random. Never degrades, and ignores load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.policy import RoutingRequest
    from routing.view import PodView


class Random:
    """Every pod costs the same."""

    name: ClassVar[str] = "random"
    needs_body: ClassVar[bool] = False

    def costs(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """Zeros."""
        del request
        return np.zeros(len(pods))
