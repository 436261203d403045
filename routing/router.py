"""Select and book: one synchronous step, so that no two requests see the same idle pod. And later: settle.

A booking is remembered by its charge id until Envoy's log says how the request ended, or an hour has passed; what was
learned goes to the policy, the prefix index and the token windows.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from routing.chooser import Chooser
from routing.lease import Work
from routing.output_estimates import OutputEstimates
from routing.policies import ALIASES, all_policies
from routing.policy import Outcome
from routing.prefix_index import PrefixBooking, PrefixIndex
from routing.prefix_keys import PrefixKeys
from routing.strategies import Strategies

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.lease import Lease
    from routing.pods import PodTable
    from routing.policy import Policy, RoutingRequest
    from routing.profiles import ModelConfig
    from routing.selector import Selector
    from routing.spec import PodSpec
    from routing.view import PodView

MAX_PENDING = 100_000
PENDING_SECONDS = 3600.0


class UnknownModelError(LookupError):
    """Nobody serves, or is configured to serve, this model."""


class NoReadyPodError(LookupError):
    """The model is known, but none of its pods can take this request."""


@dataclass(frozen=True, slots=True)
class Booking:
    """The chosen pods, best first, with the lease on the first of them."""

    pods: tuple[PodSpec, ...]
    lease: Lease
    branch: str
    matched_tokens: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pod in an explanation: its place, its cost, and the cost's terms."""

    pod: PodSpec
    place: int
    cost: float
    terms: dict[str, float]
    matched_tokens: float


@dataclass(frozen=True, slots=True)
class _Pending:
    policy: Policy
    request: RoutingRequest
    lease: Lease
    prefix: PrefixBooking | None
    at_seconds: float


class Router:
    """The strategies over one pod table."""

    def __init__(self, pods: PodTable, rng: np.random.Generator, candidates: int = 1) -> None:
        clock = pods.books.clock
        self.outputs = OutputEstimates()
        self.prefixes = PrefixIndex(clock)
        self._pods = pods
        self._clock = clock
        self._chooser = Chooser(rng)
        self._candidates = candidates
        self._strategies = Strategies(all_policies(clock, rng), ALIASES)
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        pods.on_removed = self.prefixes.drop_row
        pods.on_capacity = self.prefixes.set_capacity

    def policy(self, strategy: str) -> Policy | None:
        """The strategy of that name, alias or weighted combination, or None."""
        return self._strategies.resolve(strategy)

    def strategies(self) -> list[str]:
        """All plain names that `policy` knows, sorted."""
        return self._strategies.names()

    def config(self, model: str) -> ModelConfig | None:
        """What the operator configured for the model."""
        return self._pods.config(model)

    def check(self, model: str) -> None:
        """Raises UnknownModelError or NoReadyPodError when no pod could be chosen for the model now."""
        if not self._pods.knows(model):
            raise UnknownModelError(model)
        if not len(self._pods.view(model)):
            raise NoReadyPodError(model)

    def book(
        self, policy: Policy, request: RoutingRequest, charge_id: str = "", selector: Selector | None = None
    ) -> Booking:
        """Chooses pods and books the request on the first; raises as `check` does."""
        view = self._candidates_of(policy, request, selector)
        choice = self._chooser.choose(policy, view, request, self._candidates)
        rows = [int(row) for row in view.rows[choice.positions]]
        pods = tuple(self._pods.spec(row) for row in rows)
        matched_tokens = float(view.matched_tokens[choice.positions[0]])
        uncached_tokens = max(0.0, request.prompt_tokens - matched_tokens)
        lease = self._pods.book(rows[0], Work(request.prompt_tokens, uncached_tokens, request.output_tokens))
        policy.booked(pods[0], request)
        if charge_id:
            self._remember(charge_id, policy, request, lease)
        return Booking(pods, lease, choice.branch, matched_tokens)

    def explain(self, policy: Policy, request: RoutingRequest, selector: Selector | None = None) -> list[Candidate]:
        """Every candidate as `book` would see it now, best first; changes nothing."""
        view = self._candidates_of(policy, request, selector)
        choice = self._chooser.choose(policy, view, request, len(view))
        terms = policy.terms(view, request)
        return [
            Candidate(
                pod=self._pods.spec(int(view.rows[position])),
                place=place,
                cost=float(choice.costs[position]),
                terms={name: float(values[position]) for name, values in terms.items()},
                matched_tokens=float(view.matched_tokens[position]),
            )
            for place, position in enumerate(choice.positions, start=1)
        ]

    def settle(
        self, charge_id: str, address: str, *, succeeded: bool, prompt: int, cached: int, output: int, model: str
    ) -> bool:
        """Teaches how a booked request ended (token counts, 0 where unknown); False for an unknown charge id."""
        if succeeded and output:
            self.outputs.observe(model, output)
        pending = self._pending.pop(charge_id, None)
        if pending is None:
            return False
        row = self._pods.row_of(address)
        pod = self._pods.spec(row) if row is not None else None
        if prompt or output:
            pending.lease.correct(prompt, output)
        self._settle_prefix(pending, row if succeeded else None)
        pending.policy.settled(pending.request, Outcome(pod, succeeded, prompt, cached, output))
        return True

    def assume_success(self, charge_id: str) -> None:
        """Ends a booking of which nobody will ever tell the outcome: the estimates stand."""
        pending = self._pending.pop(charge_id, None)
        if pending is not None and pending.prefix is not None:
            self.prefixes.confirm(pending.prefix)

    def _candidates_of(self, policy: Policy, request: RoutingRequest, selector: Selector | None) -> PodView:
        if not self._pods.knows(request.model):
            raise UnknownModelError(request.model)
        matches = None if selector is None else (lambda pod: selector.matches(pod.labels))
        view = self._pods.view(request.model, matches)
        if not len(view):
            raise NoReadyPodError(request.model)
        if policy.needs_prefix and request.prefix:
            view.matched_tokens = self._matched_tokens(view, request)
        return view

    def _matched_tokens(self, view: PodView, request: RoutingRequest) -> FloatColumn:
        matched = self.prefixes.matched_blocks(request.prefix, view.rows)
        tokens: FloatColumn = np.concatenate(([0.0], request.prefix_tokens))[matched]
        return tokens

    def _remember(self, charge_id: str, policy: Policy, request: RoutingRequest, lease: Lease) -> None:
        booking = None
        if policy.needs_prefix and request.prefix:
            booking = self.prefixes.book(lease.row, PrefixKeys(request.prefix, request.prefix_tokens))
        now = self._clock()
        self._pending[charge_id] = _Pending(policy, request, lease, booking, now)
        while len(self._pending) > MAX_PENDING or self._oldest_at_seconds() < now - PENDING_SECONDS:
            self._pending.popitem(last=False)

    def _oldest_at_seconds(self) -> float:
        return next(iter(self._pending.values())).at_seconds

    def _settle_prefix(self, pending: _Pending, served_row: int | None) -> None:
        booking = pending.prefix
        if booking is None:
            return
        if served_row == booking.row:
            self.prefixes.confirm(booking)
            return
        self.prefixes.take_back(booking)
        if served_row is not None:  # Envoy went to another candidate
            self.prefixes.insert(served_row, booking.keys)
