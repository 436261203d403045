"""Bookings until somebody tells how their requests ended, and what the ends teach.

A booking is remembered by its charge id until Envoy's log says how the request ended; what was learned goes to the
policy, the prefix index and the token windows. A log that brings an entry to another replica than the one that booked
is passed on by that one (`on_stranger`). Where no word comes within 15 s of the lease's release, the entry is lost:
the request is taken for a success, and the estimates stand. A lease that is never released is given up after an hour.

How many tokens a model usually generates is learned from its finished requests, whoever booked them:

    expected = min(client's maximum, mean),  mean: EWMA with weight 0.05; 128 tokens until the first request ended
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import msgspec

from routing.strategies.policy import RequestOutcome

if TYPE_CHECKING:
    from routing.pods.books import Lease
    from routing.prefix.prefix_index import PrefixBooking, PrefixIndex
    from routing.spec import PodSpec
    from routing.strategies.policy import Policy, RoutingRequest


MAX_PENDING = 100_000
"""Requests that were sent on, by id."""
PENDING_SECONDS = 3600.0
"""Envoy ends a stream that says nothing for an hour."""
SILENCE_SECONDS = 15.0
"""Envoy's log comes a second after the end, by default, and may have to find another replica."""
# More than one request brings: what has gathered in a quiet minute shrinks without one long pause.
_SILENT_PER_CALL = 16
DEFAULT_OUTPUT_TOKENS = 128.0
"""Of an answer, while nothing was learned of the model."""
_OUTPUT_WEIGHT = 0.05
# Models come from the pod table, but go, too; this many remembered ones are more than any deployment serves.
_MAX_MODELS = 4096


class Settled(msgspec.Struct, frozen=True, gc=False):
    """How a request ended, as Envoy's log tells it; token counts are 0 where unknown."""

    charge_id: str
    model: str
    address: str
    """Who answered; empty when nobody did."""
    succeeded: bool
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_seconds: float | None = None
    """Of a stream; known to the replica that Envoy told."""


class _Pending(msgspec.Struct, frozen=True, gc=False):
    policy: Policy
    request: RoutingRequest
    lease: Lease
    prefix: PrefixBooking | None
    at_seconds: float


class Unsettled:
    """Bounded in number and age; the oldest go first."""

    def __init__(self, prefixes: PrefixIndex) -> None:
        self.silent = 0
        """Bookings of whose end nobody told."""
        self._prefixes = prefixes
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._released: deque[tuple[float, str]] = deque(maxlen=MAX_PENDING)
        self._none_before_seconds = -math.inf

    def add(
        self,
        charge_id: str,
        policy: Policy,
        request: RoutingRequest,
        lease: Lease,
        prefix: PrefixBooking | None,
        now_seconds: float,
    ) -> None:
        """Remembers a booking."""
        self._pending[charge_id] = _Pending(policy, request, lease, prefix, now_seconds)
        lease.charge_id = charge_id
        lease.releases = self._released
        if now_seconds - PENDING_SECONDS > self._none_before_seconds or len(self._pending) > MAX_PENDING:
            self._give_up_oldest(now_seconds)

    def settle(self, settled: Settled, pod: PodSpec | None, row: int | None) -> bool:
        """Teaches how a booked request ended, on the pod of that row; False for an unknown charge id."""
        pending = self._pending.pop(settled.charge_id, None)
        if pending is None:
            return False
        prompt, output = settled.prompt_tokens, settled.output_tokens
        if settled.succeeded and row is not None:
            pending.lease.move(row)
        if prompt or output:
            pending.lease.correct(prompt, output)
        ratio = pending.request.token_ratio
        if ratio is not None and prompt and settled.succeeded:
            ratio.observe(pending.request.plain_tokens, prompt)
        if settled.succeeded and settled.ttft_seconds is not None and row == pending.lease.row:
            pending.lease.first_token_after(settled.ttft_seconds)
        self._settle_prefix(pending.prefix, row if settled.succeeded else None)
        if pending.policy.hears_ends:
            outcome = RequestOutcome(pod, settled.succeeded, prompt, settled.cached_tokens, output)
            pending.policy.settled(pending.request, outcome)
        return True

    def assume_success(self, charge_id: str) -> None:
        """Ends a booking of which nobody will ever tell the outcome: the estimates stand."""
        pending = self._pending.pop(charge_id, None)
        if pending is not None and pending.prefix is not None:
            self._prefixes.confirm(pending.prefix)

    def end_silent(self, now_seconds: float) -> None:
        """Ends bookings whose log entry is overdue."""
        due = now_seconds - SILENCE_SECONDS
        for _ in range(_SILENT_PER_CALL):
            if not self._released or self._released[0][0] > due:
                return
            charge_id = self._released.popleft()[1]
            if charge_id in self._pending:
                self.silent += 1
                self.assume_success(charge_id)

    def _give_up_oldest(self, now_seconds: float) -> None:
        pending, oldest_seconds = self._pending, now_seconds
        while pending:
            oldest_seconds = next(iter(pending.values())).at_seconds
            if len(pending) <= MAX_PENDING and oldest_seconds >= now_seconds - PENDING_SECONDS:
                break
            pending.popitem(last=False)
        self._none_before_seconds = oldest_seconds

    def _settle_prefix(self, booking: PrefixBooking | None, served_row: int | None) -> None:
        if booking is None:
            return
        if served_row == booking.row:
            self._prefixes.confirm(booking)
            return
        self._prefixes.take_back(booking)
        if served_row is not None:  # Envoy went to another candidate
            self._prefixes.insert(served_row, booking.keys)


class OutputEstimates:
    """One mean per model."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def expected(self, model: str, max_output_tokens: int | None) -> float:
        """Tokens that a request is expected to generate."""
        mean = self._means.get(model, DEFAULT_OUTPUT_TOKENS)
        return mean if max_output_tokens is None else min(mean, float(max_output_tokens))

    def observe(self, model: str, output_tokens: int) -> None:
        """A request of the model ended with that many tokens."""
        known = self._means.get(model)
        if known is None:
            if len(self._means) >= _MAX_MODELS:
                self._means.clear()
            known = float(output_tokens)
        self._means[model] = known + _OUTPUT_WEIGHT * (output_tokens - known)
