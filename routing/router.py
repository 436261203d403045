"""Select and book: one synchronous step, so that no two requests see the same idle pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routing.policies import all_policies

if TYPE_CHECKING:
    from routing.chooser import Chooser
    from routing.lease import Lease
    from routing.pods import PodTable
    from routing.policy import Policy, RoutingRequest
    from routing.spec import PodSpec


class UnknownModelError(LookupError):
    """Nobody serves, or is configured to serve, this model."""


class NoReadyPodError(LookupError):
    """The model is known, but none of its pods can take a request."""


@dataclass(frozen=True, slots=True)
class Booking:
    """The chosen pods, best first, with the lease on the first of them."""

    pods: tuple[PodSpec, ...]
    lease: Lease
    branch: str


class Router:
    """The strategies over one pod table."""

    def __init__(self, pods: PodTable, chooser: Chooser, candidates: int) -> None:
        self._pods = pods
        self._chooser = chooser
        self._candidates = candidates
        self._policies = all_policies()

    def policy(self, strategy: str) -> Policy | None:
        """The strategy of that name, or None."""
        return self._policies.get(strategy)

    def strategies(self) -> list[str]:
        """All names that `policy` knows, sorted."""
        return sorted(self._policies)

    def check(self, model: str) -> None:
        """Raises UnknownModelError or NoReadyPodError when no pod could be chosen for the model now."""
        if not self._pods.knows(model):
            raise UnknownModelError(model)
        if not len(self._pods.view(model)):
            raise NoReadyPodError(model)

    def book(self, policy: Policy, request: RoutingRequest) -> Booking:
        """Chooses pods and books the request on the first; raises as `check` does."""
        self.check(request.model)
        choice = self._chooser.choose(policy, self._pods.view(request.model), request, self._candidates)
        pods = tuple(self._pods.spec(int(row)) for row in choice.rows)
        return Booking(pods, self._pods.book(int(choice.rows[0])), choice.branch)
