"""What a replica may spend of a busy subject's limits without asking the store: a share of what is left, for a second.

    wished    as many requests as the subject sent in the last second or in this one, and a quarter more
    given     min(wished, left / (4 x replicas)) requests, and so many times the first one's tokens, likewise bounded
              nothing below 4: near its limit each request of a subject is decided by the store
    lasts     until the store's bucket (a second) is over, or all of it is spent

A lease counts on the store as if it were spent in its bucket, all of it, until the replica has told what it let in,
which it does when the bucket is over. So no minute holds more than the limit, whatever becomes of the replica. What is
refused too early, because others hold what they do not need, is at most their leases: a quarter of what was left, for
about a second; for a minute when a replica was killed. Subjects with parallel slots and models with a rate have no
leases: there every request counts at once.

Leases know no store: `admit` decides from them, `wish` says what to ask for along with an admission, `given` takes the
answer, `ended` tells what is to be reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ratelimit.windows.admission import Lengths, expected
from ratelimit.windows.decision import Admission, Decision, Leased, LeaseWish, Outcome, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Lease

LEAST_LEASED = 4
"""Requests; fewer are not worth their report."""
BUSY_REQUESTS = 8
"""In a second: who sends fewer never has a lease."""
SHARE = 4
"""A lease is at most so much of what is left, for each replica."""
LOST_SECONDS = 1.0
"""Until a wish without an answer is ended: by then the store has given what it would, and its bucket is over."""
_MORE = 1.25
_CALM_SECONDS = 0.25
"""After a wish that was not granted."""
_MAX_SUBJECTS = 20_000
"""Of whom it is counted how busy they are; more in a second or two begin anew."""
_Key = tuple["Subject", str, tuple[str, ...]]


class _Held(msgspec.Struct):
    report: Report
    lease: Lease
    lengths: Lengths | None
    given: Decision
    until_seconds: float
    given_at_seconds: float
    requests: int
    tokens: int


class _Demand(msgspec.Struct):
    second: int
    count: int = 0
    before: int = 0
    not_before_seconds: float = 0.0

    def add(self, second: int) -> None:
        if second != self.second:
            self.before = self.count if second == self.second + 1 else 0
            self.second, self.count = second, 0
        self.count += 1


class Leases:
    """Of one replica. `clock` is monotonic; bounded by the busiest subjects of a second or two."""

    def __init__(self, clock: Callable[[], float], replica: str, replicas: Callable[[], int]) -> None:
        self._clock = clock
        self._replica = replica
        self._replicas = replicas
        self._held: dict[_Key, _Held] = {}
        self._demand: dict[_Key, _Demand] = {}
        self._ended: list[Report] = []
        self._lost: list[tuple[float, Report]] = []
        self._number = 0
        self.admitted = 0
        """Since the start."""
        self.given_total = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def wants_to_report(self) -> bool:
        """Whether `ended` has something."""
        return bool(self._ended)

    @property
    def next_end_seconds(self) -> float | None:
        """When the first of them ends."""
        held = min((held.until_seconds for held in self._held.values()), default=None)
        lost = self._lost[0][0] if self._lost else None
        return min((at for at in (held, lost) if at is not None), default=None)

    def admit(self, admission: Admission) -> Decision | None:
        """Under a lease; None: the store is to be asked. A charge id is admitted once."""
        key = (admission.subject, admission.model, admission.other_names)
        held = self._held.get(key)
        if held is None or admission.model_requests_per_second:
            return None
        now = self._clock()
        if now >= held.until_seconds:
            self._end(key)
            return None
        known = held.report.charges.get(admission.charge_id)
        reserved = known.reserved if known is not None else _booked(admission, held)
        if known is None:
            if held.requests < 1 or held.tokens < reserved:
                self._end(key)
                return None
            held.requests, held.tokens = held.requests - 1, held.tokens - reserved
            held.report.charges[admission.charge_id] = Leased(admission, reserved, now)
            self.admitted += 1
            self._demand_of(key, now).add(int(now))
        return _decision(held, reserved, now)

    def wish(self, admission: Admission) -> LeaseWish | None:
        """What to ask for along with this admission, which the store decides."""
        if admission.model_requests_per_second:
            return None
        key, now = (admission.subject, admission.model, admission.other_names), self._clock()
        demand = self._demand_of(key, now)
        demand.add(int(now))
        busy = max(demand.count, demand.before)
        if busy < BUSY_REQUESTS or key in self._held or now < demand.not_before_seconds:
            return None
        demand.not_before_seconds = now + _CALM_SECONDS
        self._number += 1
        return LeaseWish(f"{self._replica}:{self._number}", int(busy * _MORE), SHARE * max(1, self._replicas()))

    def given(self, admission: Admission, wish: LeaseWish, decision: Decision, asked_at_seconds: float) -> None:
        """What the store made of a wish. Time runs from when it was asked: a lease ends here before it does there."""
        lease = decision.lease
        if lease is None:
            return
        key = (admission.subject, admission.model, admission.other_names)
        report = Report(wish.id, admission.subject, admission.model, lease.bucket)
        until = asked_at_seconds + lease.seconds
        if key in self._held or self._clock() >= until:
            self._ended.append(report)
            return
        self.given_total += 1
        self._held[key] = _Held(
            report, lease, _lengths(lease), decision, until, self._clock(), lease.requests, lease.tokens
        )

    def lost(self, admission: Admission, wish: LeaseWish) -> None:
        """Nobody knows whether the store granted it, or still will: it is ended when it would be over."""
        self._lost.append((self._clock() + LOST_SECONDS, Report(wish.id, admission.subject, admission.model)))

    def forget(self, subject: Subject) -> None:
        """Its limits, or whom it may ask, have changed."""
        for key in [key for key in self._held if key[0] == subject]:
            self._end(key)

    def end_all(self) -> None:
        """The store may say something else by now."""
        for key in list(self._held):
            self._end(key)

    def ended(self) -> list[Report]:
        """Those whose time is over, or that are spent; each is told once."""
        now = self._clock()
        for key in [key for key, held in self._held.items() if now >= held.until_seconds]:
            self._end(key)
        while self._lost and now >= self._lost[0][0]:
            self._ended.append(self._lost.pop(0)[1])
        self._demand = {key: demand for key, demand in self._demand.items() if demand.second >= int(now) - 1}
        ended, self._ended = self._ended, []
        return ended

    def _end(self, key: _Key) -> None:
        self._ended.append(self._held.pop(key).report)
        if key in self._demand:
            # Another may be asked for at once: all of this one may be spent.
            self._demand[key].not_before_seconds = 0.0

    def _demand_of(self, key: _Key, now_seconds: float) -> _Demand:
        demand = self._demand.get(key)
        if demand is None:
            if len(self._demand) >= _MAX_SUBJECTS:
                self._demand.clear()
            demand = self._demand[key] = _Demand(int(now_seconds))
        return demand


def _lengths(lease: Lease) -> Lengths | None:
    typical, longest, *last = lease.lengths or (0, 0)
    return Lengths(typical, longest, tuple(last)) if last else None


def _booked(admission: Admission, held: _Held) -> int:
    output = admission.likely_output, admission.max_output, admission.choices
    return expected(max(admission.tokens, 0), *output, held.lengths, held.lease.tokens_limit).booked


def _decision(held: _Held, reserved: int, now_seconds: float) -> Decision:
    """As the store would tell it: what it told with the lease, and what was spent of that since."""
    given, lease, passed = held.given, held.lease, now_seconds - held.given_at_seconds
    return Decision(
        Outcome.ADMITTED,
        given.limits,
        given.requests_used + lease.requests - held.requests,
        given.tokens_used + lease.tokens - held.tokens,
        0.0,
        reserved,
        max(0.0, given.requests_reset_seconds - passed),
        max(0.0, given.tokens_reset_seconds - passed),
    )
