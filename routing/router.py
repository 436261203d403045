"""Select and book: one synchronous step, so that no two requests see the same idle pod. And later: settle.

A booking is remembered by its charge id until Envoy's log says how the request ended; what was learned goes to the
policy, the prefix index and the token windows. A log that brings an entry to another replica than the one that booked
is passed on by that one (`on_stranger`). Where no word comes within 15 s of the lease's release, the entry is lost:
the request is taken for a success, and the estimates stand. A lease that is never released is given up after an hour.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec
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
    from collections.abc import Callable

    from routing.lease import Lease
    from routing.pods import PodTable
    from routing.policy import Policy, RoutingRequest
    from routing.profiles import ModelConfig
    from routing.selector import Selector
    from routing.spec import PodSpec
    from routing.view import PodView

MAX_PENDING = 100_000
PENDING_SECONDS = 3600.0
SILENCE_SECONDS = 15.0
"""Envoy's log comes a second after the end, by default, and may have to find another replica."""
# More than one request brings: what has gathered in a quiet minute shrinks without one long pause.
_SILENT_PER_CALL = 16


class UnknownModelError(LookupError):
    """Nobody serves, or is configured to serve, this model."""


class NoReadyPodError(LookupError):
    """The model is known, but none of its pods can take this request."""


class SaturatedError(LookupError):
    """Every pod that could take this request has as many as it may have."""


class Booking(msgspec.Struct, frozen=True):
    """The chosen pods, best first, with the lease on the first of them; a client's filter may make them repeat."""

    pods: tuple[PodSpec, ...]
    lease: Lease
    branch: str
    matched_tokens: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pod in an explanation: its place, its cost, and the cost's terms."""

    pod: PodSpec
    place: int | None
    """None for a pod that is not offered to requests now."""
    health: str
    """"closed" is well; else "open", "half_open" or "asleep"."""
    cost: float = math.nan
    terms: dict[str, float] = field(default_factory=dict)
    matched_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """How a request ended, as Envoy's log tells it; token counts are 0 where unknown."""

    charge_id: str
    model: str
    address: str
    """Who answered; empty when nobody did."""
    succeeded: bool
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


class _Pending(msgspec.Struct, frozen=True):
    policy: Policy
    request: RoutingRequest
    lease: Lease
    prefix: PrefixBooking | None
    at_seconds: float


class Router:
    """The strategies over one pod table."""

    def __init__(
        self, pods: PodTable, rng: np.random.Generator, candidates: int = 1, max_inflight_per_pod: int = 0
    ) -> None:
        clock = pods.books.clock
        self.outputs = OutputEstimates()
        self.prefixes = PrefixIndex(clock)
        self._pods = pods
        self._clock = clock
        self._chooser = Chooser(rng)
        self._candidates = candidates
        self._max_inflight_per_pod = max_inflight_per_pod or math.inf
        self._strategies = Strategies(all_policies(clock, rng), ALIASES)
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._released: deque[tuple[float, str]] = deque(maxlen=MAX_PENDING)
        self.on_prefix: Callable[[PodSpec, PrefixKeys], None] = lambda pod, keys: None
        """Called with the prompt that a pod is about to compute."""
        self.silent = 0
        """Bookings of whose end nobody told."""
        self.on_stranger: Callable[[Settled], None] = lambda settled: None
        """Called with a request that was not booked here, or was settled before."""
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

    def has_room(self, model: str) -> bool:
        """Whether a pod of the model may take one more request."""
        return self._pods.knows(model) and bool(len(self._with_room(self._offered(self._pods.view(model))[0])))

    def book(
        self, policy: Policy, request: RoutingRequest, charge_id: str = "", selector: Selector | None = None
    ) -> Booking:
        """Chooses pods and books the request on the first; raises as `check` does, and SaturatedError."""
        self._end_silent()
        offered, probe = self._offered(self._ready(request, selector))
        view = self._with_room(offered)
        if not len(view):
            raise SaturatedError(request.model)
        self._match(view, policy, request)
        choice = self._chooser.choose(policy, view, request, self._candidates)
        rows = [int(row) for row in view.rows[choice.positions]]
        branch, matched_tokens = choice.branch, float(view.matched_tokens[choice.positions[0]])
        if probe is not None:
            # The strategy's choices stay behind it, for Envoy to retry on; nobody trusts the probe's cache.
            rows, branch, matched_tokens = [probe, *rows][: max(2, self._candidates)], "probe", 0.0
        if selector is not None:
            # After the last candidate Envoy would take any pod: the client's filter holds for retries, too.
            rows = (rows * self._candidates)[: max(len(rows), self._candidates)]
        pods = tuple(self._pods.spec(row) for row in rows)
        uncached_tokens = max(0.0, request.prompt_tokens - matched_tokens)
        lease = self._pods.book(rows[0], Work(request.prompt_tokens, uncached_tokens, request.output_tokens))
        self._pods.health.booked(lease, charge_id)
        policy.booked(pods[0], request)
        if charge_id:
            self._remember(charge_id, policy, request, lease)
        return Booking(pods, lease, branch, matched_tokens)

    def explain(self, policy: Policy, request: RoutingRequest, selector: Selector | None = None) -> list[Candidate]:
        """Every candidate as `book` would see it now, best first, and then those not offered; changes nothing."""
        ready = self._ready(request, selector)
        view, probe = self._offered(ready)
        self._match(view, policy, request)
        choice = self._chooser.choose(policy, view, request, len(view))
        terms = policy.terms(view, request)
        first = [] if probe is None else [self._beside(probe, place=1)]
        chosen = [
            Candidate(
                pod=self._pods.spec(int(view.rows[position])),
                place=place,
                health=self._pods.health.describe(int(view.rows[position])),
                cost=float(choice.costs[position]),
                terms={name: float(values[position]) for name, values in terms.items()},
                matched_tokens=float(view.matched_tokens[position]),
            )
            for place, position in enumerate(choice.positions, start=1 + len(first))
        ]
        offered = {probe, *view.rows.tolist()}
        return first + chosen + [self._beside(row) for row in ready.rows.tolist() if row not in offered]

    def _beside(self, row: int, place: int | None = None) -> Candidate:
        """A pod of which no strategy was asked."""
        return Candidate(self._pods.spec(row), place, self._pods.health.describe(row))

    def settle(
        self,
        charge_id: str,
        address: str,
        *,
        succeeded: bool,
        prompt: int,
        cached: int,
        output: int,
        model: str,
        ttft_seconds: float | None = None,
    ) -> bool:
        """Teaches how a booked request ended (token counts, 0 where unknown); False for an unknown charge id."""
        if succeeded and output:
            self.outputs.observe(model, output)
        pending = self._pending.pop(charge_id, None)
        if pending is None:
            self.on_stranger(Settled(charge_id, model, address, succeeded, prompt, cached, output))
            return False
        row = self._pods.row_of(address)
        pod = self._pods.spec(row) if row is not None else None
        if prompt or output:
            pending.lease.correct(prompt, output)
        if succeeded and ttft_seconds is not None and row == pending.lease.row:
            pending.lease.first_token_after(ttft_seconds)
        self._settle_prefix(pending, row if succeeded else None)
        pending.policy.settled(pending.request, Outcome(pod, succeeded, prompt, cached, output))
        return True

    def assume_success(self, charge_id: str) -> None:
        """Ends a booking of which nobody will ever tell the outcome: the estimates stand."""
        pending = self._pending.pop(charge_id, None)
        if pending is not None and pending.prefix is not None:
            self.prefixes.confirm(pending.prefix)

    def _ready(self, request: RoutingRequest, selector: Selector | None) -> PodView:
        if not self._pods.knows(request.model):
            raise UnknownModelError(request.model)
        matches = None if selector is None else (lambda pod: selector.matches(pod.labels))
        view = self._pods.view(request.model, matches)
        if not len(view):
            raise NoReadyPodError(request.model)
        return view

    def _offered(self, view: PodView) -> tuple[PodView, int | None]:
        """The pods that are well enough, and the row that waits for a probe, if any."""
        offer = self._pods.health.offer(view.rows)
        return (view if offer.rows is view.rows else self._pods.view_of(offer.rows)), offer.probe

    def _with_room(self, view: PodView) -> PodView:
        if self._max_inflight_per_pod == math.inf:
            return view
        return view.only(view.known_inflight_requests < self._max_inflight_per_pod)

    def _match(self, view: PodView, policy: Policy, request: RoutingRequest) -> None:
        if policy.needs_prefix and request.prefix:
            matched = self.prefixes.matched_blocks(request.prefix, view.rows)
            view.matched_tokens = np.array((0.0, *request.prefix_tokens))[matched]

    def _remember(self, charge_id: str, policy: Policy, request: RoutingRequest, lease: Lease) -> None:
        booking = None
        if policy.needs_prefix and request.prefix:
            keys = PrefixKeys(request.prefix, request.prefix_tokens)
            booking = self.prefixes.book(lease.row, keys)
            self.on_prefix(self._pods.spec(lease.row), keys)
        now = self._clock()
        self._pending[charge_id] = _Pending(policy, request, lease, booking, now)
        lease.on_release = partial(self._on_release, charge_id)
        while len(self._pending) > MAX_PENDING or self._oldest_at_seconds() < now - PENDING_SECONDS:
            self._pending.popitem(last=False)

    def _on_release(self, charge_id: str) -> None:
        if charge_id in self._pending:
            self._released.append((self._clock(), charge_id))

    def _end_silent(self) -> None:
        """Ends bookings whose log entry is overdue."""
        due = self._clock() - SILENCE_SECONDS
        for _ in range(_SILENT_PER_CALL):
            if not self._released or self._released[0][0] > due:
                return
            charge_id = self._released.popleft()[1]
            if charge_id in self._pending:
                self.silent += 1
                self.assume_success(charge_id)

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
