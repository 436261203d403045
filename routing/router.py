"""Select and book: one synchronous step, so that no two requests see the same idle pod. And later: settle.

What becomes of a booking until its request is settled: see `routing.unsettled`.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.booking import Booking, Candidate, NoReadyPodError, SaturatedError, UnknownModelError, Weighed
from routing.candidates import Candidates, first_unknown
from routing.pods.books import Work, booked
from routing.pods.learned_figures import learned_figures
from routing.prefix.prefix_blocks import PrefixKeys, PromptEstimates
from routing.prefix.prefix_index import PrefixIndex
from routing.shortlist import MAX_PRICED, shortlist
from routing.strategies.every import ALIASES, all_policies
from routing.strategies.least_request import LeastRequest
from routing.strategies.policy import Chooser
from routing.strategies.strategy_text import Strategies
from routing.unsettled import SILENCE_SECONDS, OutputEstimates, Settled, Unsettled

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.columns import IntColumn
    from routing.pods.pod_table import PodTable
    from routing.pods.pod_view import PodView
    from routing.prefix.prefix_index import PrefixBooking
    from routing.profiles import ModelConfig
    from routing.selector import PodFilter
    from routing.spec import PodSpec
    from routing.strategies.policy import Choice, Policy, RoutingRequest

__all__ = [
    "SILENCE_SECONDS",
    "Booking",
    "Candidate",
    "NoReadyPodError",
    "Router",
    "SaturatedError",
    "Settled",
    "UnknownModelError",
]

_PROBE = "probe"


class Router:
    """The strategies over one pod table."""

    def __init__(
        self,
        pods: PodTable,
        rng: np.random.Generator,
        candidates: int = 1,
        max_inflight_per_pod: int = 0,
        explain_every_seconds: float = math.inf,
    ) -> None:
        """At most every `explain_every_seconds` a booking tells what its pods were weighed with: some microseconds."""
        clock = pods.books.clock
        self.outputs = OutputEstimates()
        self.prompts = PromptEstimates()
        self.prefixes = PrefixIndex(clock)
        self._pods = pods
        self._clock = clock
        # For a few numbers, Python's own generator takes a tenth of numpy's time.
        self._draw = random.Random(int(rng.integers(2**63))).random
        self._chooser = Chooser(self._draw, LeastRequest())
        self._candidates = candidates
        self._max_inflight_per_pod = max_inflight_per_pod or math.inf
        self._strategies = Strategies(all_policies(clock, rng), ALIASES)
        self._unsettled = Unsettled(self.prefixes)
        self._explain_every_seconds = explain_every_seconds
        self._explain_at_seconds = math.inf if explain_every_seconds == math.inf else -math.inf
        self.on_prefix: Callable[[PodSpec, PrefixKeys], None] = lambda pod, keys: None
        """Called with the prompt that a pod is about to compute."""
        self.on_stranger: Callable[[Settled], None] = lambda settled: None
        """Called with a request that was not booked here, or was settled before."""
        pods.on_removed = self.prefixes.drop_row
        pods.on_capacity = self.prefixes.set_capacity

    @property
    def silent(self) -> int:
        """Bookings of whose end nobody told."""
        return self._unsettled.silent

    def policy(self, strategy: str) -> Policy | None:
        """The strategy of that name, alias or weighted combination, or None."""
        return self._strategies.resolve(strategy)

    def strategies(self) -> list[str]:
        """All plain names that `policy` knows, sorted."""
        return self._strategies.names()

    def config(self, model: str) -> ModelConfig | None:
        """What the operator configured for the model."""
        return self._pods.config(model)

    def pod_of_token(self, token: str) -> PodSpec | None:
        """The pod that a session's token stands for."""
        return self._pods.pod_with_hash(int(token, 16))

    def knows(self, model: str) -> bool:
        """Whether the model is served here, or was to be."""
        return self._pods.knows(model)

    def check(self, model: str) -> None:
        """Raises UnknownModelError or NoReadyPodError when no pod could be chosen for the model now."""
        self._ready(model)

    def is_cold(self, model: str) -> bool:
        """Whether the model has been scaled to zero, and no pod of it is ready yet."""
        return self._pods.is_cold(model)

    def has_room(self, model: str) -> bool:
        """Whether a pod of the model may take one more request."""
        rows = self._pods.ready_rows().get(model)
        if rows is None:
            return False
        offered, probe = self._with_room(*self._offered(rows))
        return probe is not None or len(offered) > 0

    def book(
        self, policy: Policy, request: RoutingRequest, charge_id: str = "", selector: PodFilter | None = None
    ) -> Booking:
        """Chooses pods and books the request on the first; raises as `check` does, and SaturatedError."""
        now_seconds = self._clock()
        self._unsettled.end_silent(now_seconds)
        weighed: tuple[Weighed, ...] = ()
        offered, probe = self._with_room(*self._offered(self._ready(request.model, selector)))
        if not len(offered):
            if probe is None:
                raise SaturatedError(request.model)
            rows, branch, matched_tokens = [probe], _PROBE, 0.0
        else:
            priced = self._priced(offered, policy, request)
            if now_seconds >= self._explain_at_seconds:
                choice, weighed = self._explained(policy, priced, request, now_seconds)
            else:
                choice = self._chooser.choose(policy, priced, request, self._candidates)
            rows, branch, matched_tokens = self._chosen(priced, choice, probe)
        if selector is not None:
            # After the last candidate Envoy would take any pod: the client's filter holds for retries, too.
            rows = (rows * self._candidates)[: max(len(rows), self._candidates)]
        pods = self._pods.specs(rows)
        uncached_tokens = max(0.0, request.prompt_tokens - matched_tokens)
        work = Work(request.prompt_tokens, uncached_tokens, request.output_tokens)
        lease = booked(self._pods.books, rows[0], work, now_seconds)
        try:
            if rows[0] in self._pods.health.sick:
                self._pods.health.booked(lease, charge_id)
            if request.model in self._pods.adapters:
                lease.needs(request.model)
            policy.booked(pods[0], request)
            if charge_id:
                has_prefix = policy.needs_prefix and request.prefix
                prefix = self._book_prefix(request, rows[0], pods[0]) if has_prefix else None
                self._unsettled.add(charge_id, policy, request, lease, prefix, now_seconds)
        except Exception:
            lease.release()  # nobody else knows of it yet
            raise
        return Booking(pods, lease, branch, matched_tokens, weighed)

    def _chosen(self, pods: Candidates, choice: Choice, probe: int | None) -> tuple[list[int], str, float]:
        """Rows, best first, the branch, and what the first of them is believed to have cached."""
        rows = [pods.rows[position] for position in choice.positions]
        if probe is None:
            return rows, choice.branch, pods.matched_tokens[choice.positions[0]]
        # The strategy's choices stay behind it, for Envoy to retry on; nobody trusts the probe's cache.
        return [probe, *rows][: max(2, self._candidates)], _PROBE, 0.0

    def _explained(
        self, policy: Policy, pods: Candidates, request: RoutingRequest, now_seconds: float
    ) -> tuple[Choice, tuple[Weighed, ...]]:
        """The choice as `Chooser.choose` makes it, and what its best two were weighed with."""
        self._explain_at_seconds = now_seconds + self._explain_every_seconds
        terms = policy.terms(pods, request)  # once: some draw lots for them
        costs = list(map(sum, terms))
        choice = self._chooser.rank(policy, pods, request, costs, max(2, self._candidates))
        weighed = tuple(
            Weighed(
                self._pods.spec(pods.rows[at]), choice.costs[at], terms[at], policy.term_names, pods.matched_tokens[at]
            )
            for at in choice.positions[:2]
        )
        return msgspec.structs.replace(choice, positions=choice.positions[: self._candidates]), weighed

    def explain(self, policy: Policy, request: RoutingRequest, selector: PodFilter | None = None) -> list[Candidate]:
        """Every candidate as `book` would see it now, best first, and then those not offered; changes nothing."""
        ready = self._ready(request.model, selector)
        rows, probe = self._offered(ready)
        many = len(rows) > MAX_PRICED
        pods = Candidates.of(self._many(rows, policy, request)) if many else self._few(rows, policy, request)
        terms = policy.terms(pods, request)  # once: some draw lots for them
        choice = self._chooser.rank(policy, pods, request, list(map(sum, terms)), len(pods))
        first = [] if probe is None else [self._beside(probe, place=1)]
        chosen = [
            Candidate(
                pod=self._pods.spec(pods.rows[position]),
                place=place,
                health=self._pods.health.describe(pods.rows[position]),
                cost=choice.costs[position],
                terms=dict(zip(policy.term_names, terms[position], strict=True)),
                matched_tokens=pods.matched_tokens[position],
                learned=learned_figures(self._pods.books, pods.rows[position]),
            )
            for place, position in enumerate(choice.positions, start=1 + len(first))
        ]
        offered = {probe, *pods.rows}
        return first + chosen + [self._beside(row) for row in ready.tolist() if row not in offered]

    def _beside(self, row: int, place: int | None = None) -> Candidate:
        """A pod of which no strategy was asked."""
        learned = learned_figures(self._pods.books, row)
        return Candidate(self._pods.spec(row), place, self._pods.health.describe(row), learned=learned)

    def goes_on_at(self, booking: Booking, address: str) -> None:
        """Envoy went on to another candidate, which answers: the booking moves there."""
        row = self._pods.row_of(address)
        if row is not None:
            booking.lease.move(row)

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
        settled = Settled(charge_id, model, address, succeeded, prompt, cached, output, ttft_seconds)
        row = self._pods.row_of(address)
        if self._unsettled.settle(settled, self._pods.spec(row) if row is not None else None, row):
            return True
        self.on_stranger(settled)
        return False

    def assume_success(self, charge_id: str) -> None:
        """Ends a booking of which nobody will ever tell the outcome: the estimates stand."""
        self._unsettled.assume_success(charge_id)

    def _ready(self, model: str, selector: PodFilter | None = None) -> IntColumn:
        rows = self._pods.ready_rows().get(model)
        if rows is None:
            raise UnknownModelError(model)
        if selector is not None:
            rows = self._pods.only(rows, selector)
        if not len(rows):
            raise NoReadyPodError(model)
        return rows

    def _offered(self, rows: IntColumn) -> tuple[IntColumn, int | None]:
        """Those of the pods that are well enough, and the row that waits for a probe, if any."""
        health = self._pods.health
        if not health.sick and not health.asleep:
            return rows, None
        offer = health.offer(rows)
        return offer.rows, offer.probe

    def _with_room(self, rows: IntColumn, probe: int | None) -> tuple[IntColumn, int | None]:
        """Of those offered, the ones that may take one more request; a pod on probation is no exception."""
        if self._max_inflight_per_pod == math.inf:
            return rows, probe
        if probe is not None and self._pods.books.requests_of(probe) >= self._max_inflight_per_pod:
            probe = None
        return rows[self._pods.books.inflight_requests(rows) < self._max_inflight_per_pod], probe

    def _priced(self, rows: IntColumn, policy: Policy, request: RoutingRequest) -> Candidates:
        """Of those offered, the ones that the strategy's formula is asked for."""
        if len(rows) <= MAX_PRICED:
            return self._few(rows, policy, request)
        view, cold_block = self._many(rows, policy, request), None
        if policy.needs_prefix:
            cold_block = first_unknown(request.prefix, request.prefix_tokens, view.best_match_tokens)
        return Candidates.of(shortlist(view, policy.scan(view, request), cold_block, self._draw))

    def _few(self, rows: IntColumn, policy: Policy, request: RoutingRequest) -> Candidates:
        """All of them, with what each holds of the prompt."""
        matched = None
        if policy.needs_prefix and request.prefix:
            matched = self.prefixes.matched_tokens(request.prefix, request.prefix_tokens, rows)
        return Candidates(self._pods.books, rows, self._pods.stale_after_seconds, matched)

    def _many(self, rows: IntColumn, policy: Policy, request: RoutingRequest) -> PodView:
        """The same, of more than a formula is asked for."""
        view = self._pods.view_of(rows)
        if policy.needs_prefix and request.prefix:
            matched = self.prefixes.matched_blocks(request.prefix, rows)
            view.matched_tokens = np.array((0.0, *request.prefix_tokens))[matched]
        return view

    def _book_prefix(self, request: RoutingRequest, row: int, pod: PodSpec) -> PrefixBooking:
        keys = PrefixKeys(request.prefix, request.prefix_tokens)
        booking = self.prefixes.book(row, keys)
        self.on_prefix(pod, keys)
        return booking
