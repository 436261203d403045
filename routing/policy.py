"""The contract of a routing strategy.

A policy has one verb: `costs` gives one float per candidate, lower is better, NaN where it knows nothing of the pod. It
has no side effects and awaits nothing; state that must follow a decision or its outcome is kept in the hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.view import PodView


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """What may be known of a request when its pod is chosen."""

    model: str
    user: str = ""


class Policy(Protocol):
    """One strategy. Instances live as long as the process and serve all models."""

    name: ClassVar[str]
    """The strategy's name on the wire."""
    needs_body: ClassVar[bool]
    """False when the strategy decides without the request's body, so that Envoy need not send it."""

    def costs(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """One cost per candidate, in any unit; lower is better, NaN is "I know nothing of this pod"."""
        ...
