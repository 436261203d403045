"""A limit store that is there when the remote one is not.

While the remote store answers, it decides. A call that fails, is late (50 ms) or would meet an open circuit breaker is
decided here, by policy:

    local   each replica's share of what was left when the store was last heard (`local_limits`)
    open    everyone is let in, unlimited
    closed  `StoreUnavailable`

What is let in here is told to the store when it is back, once per charge id (`outbox`); for two seconds more both must
agree, the store and the share, as other replicas may not have told it yet. An admission whose answer was lost may have
happened on the store. If it is not let in here, it is undone: a settlement of no tokens and a release wait for it.

Busy subjects are let in under leases (`leases`), which ask nobody. A lease that cannot be reported becomes admissions
that the store was not told of, as those of an outage; when one begins, what was let in under leases counts here first.

Every request costs an admission, so it is one future from the caller to the batch that answers it: no task, no timer
and no coroutine of its own. Everything else goes through `StoreGuard.call`.
"""

from __future__ import annotations

import asyncio
import inspect
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ratelimit.outage.breaker import BreakerState
from ratelimit.store.batching import Waiting
from ratelimit.store.deadlines import Deadlines
from ratelimit.store.limit_store import ItemRefused, StoreUnavailable
from ratelimit.store.outbox import SETTLEMENTS_PER_CALL, Outbox, Release
from ratelimit.users.subjects import Source
from ratelimit.windows.decision import Decision, Outcome, Settlement
from ratelimit.windows.spending import BUCKET_SECONDS, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ratelimit.outage.breaker import Permit
    from ratelimit.outage.last_spent import LastSpent
    from ratelimit.outage.local_limits import LocalLimits
    from ratelimit.outage.store_guard import StoreGuard
    from ratelimit.store.batching import BatchingLimits
    from ratelimit.users.known_users import KnownUsers
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Admission, Report, Usage
    from ratelimit.windows.leases import Leases

T = TypeVar("T")

_AFTER_END_SECONDS = 0.002
"""After the end of a lease, when it is reported: timers ring a little early."""
_REPORTS_PER_CALL = 64
"""Small enough to be answered within one deadline: each books what some hundred requests cost."""
SETTLING_SECONDS = 2.0
"""After an outage: by then each replica has noticed that the store is back (see `breaker`), and told what it let in."""
_UNLIMITED = Decision(Outcome.ADMITTED, None)


class StoreDown(Enum):
    """What to do with admissions while the store is away."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class Counts(msgspec.Struct, frozen=True):
    """Since the start, except `queued`: what waits to be told now."""

    admitted_locally: int
    refused_locally: int
    unseen_user_admissions: int
    admitted_unlimited: int
    queued: int
    dropped: int
    expired: int
    times_opened: int
    timeouts: int


class ResilientLimits:
    """`LimitStore`. `clock` is monotonic; `guard` guards `remote`, and both are closed with this."""

    def __init__(
        self,
        remote: BatchingLimits,
        guard: StoreGuard,
        known: KnownUsers,
        local: LocalLimits,
        clock: Callable[[], float],
        policy: StoreDown = StoreDown.LOCAL,
        *,
        last_spent: LastSpent | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._last_spent = last_spent
        self.policy = policy
        self.refused: list[Callable[[Admission, Decision], None]] = []
        """Called with every decision but "admitted", by whoever decides now."""
        self._remote = remote
        self._guard = guard
        self._known = known
        self._local = local
        self._outbox = Outbox(remote, guard, clock)
        self._leases = leases
        self._reporting: set[asyncio.Task[None]] = set()
        self._next_report: asyncio.TimerHandle | None = None
        self._deadlines: Deadlines[_Asked] = Deadlines(guard.timeout_seconds, self._late)
        self._admitted_unlimited = 0
        self.clock = clock
        self._settled_at = float("-inf")
        """When the store is taken to know what all replicas admitted without it."""
        self._counts_until = float("-inf")
        """What the store refused to count is counted here for as long as it counts."""
        self._counts_here = False
        guard.recovered.append(self._recovered)

    def __repr__(self) -> str:
        return f"ResilientLimits({self._remote!r}, {self.state.value}, {len(self._outbox)} queued)"

    @property
    def state(self) -> BreakerState:
        """Closed: the remote store decides. Anything else: `policy` does."""
        return self._guard.state

    @property
    def counts(self) -> Counts:
        return Counts(
            admitted_locally=self._local.admitted,
            refused_locally=self._local.refused,
            unseen_user_admissions=self._local.unseen,
            admitted_unlimited=self._admitted_unlimited,
            queued=len(self._outbox),
            dropped=self._outbox.dropped,
            expired=self._outbox.expired,
            times_opened=self._guard.times_opened,
            timeouts=self._guard.timeouts,
        )

    def admit_at_once(self, admission: Admission) -> Decision | None:
        """Under a lease; None: `admit` is to be asked."""
        leases = self._leases
        if leases is None or self._counts_here or self.state is not BreakerState.CLOSED:
            return None
        return leases.admit(admission)

    def admit(self, admission: Admission) -> Awaitable[Decision]:
        permit = self._guard.permit()
        if permit is None:
            return self._admit_without_asking(admission)
        if self._counts_here and not self._has_settled():
            refusal = self._refusal_of_share(admission)
            if refusal is not None:
                return refusal
        if self._leases is not None and not self._counts_here and (wish := self._leases.wish(admission)) is not None:
            admission = msgspec.structs.replace(admission, wish=wish)
        asked = _Asked(self, admission, permit)
        self._remote.ask(asked)
        self._deadlines.watch(asked)
        return asked

    async def settle(self, settlement: Settlement) -> bool:
        return await self.settle_many([settlement]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """Never raises for a store that is away; then it counts what this process had not settled before."""
        settled = 0
        for start in range(0, len(settlements), SETTLEMENTS_PER_CALL):
            settled += await self._settle(settlements[start : start + SETTLEMENTS_PER_CALL])
        return settled

    async def release(self, subject: Subject, charge_id: str) -> None:
        """Never raises for a store that is away."""
        self._local.release(subject, charge_id)
        try:
            await self._guard.call(lambda: _awaited(self._remote.release(subject, charge_id)))
        except ItemRefused:
            pass  # the store has counted it; it would be refused again
        except StoreUnavailable:
            self._outbox.release(Release(subject, charge_id))

    async def usage(self, user: str) -> Usage | None:
        """What the remote store knows; `StoreUnavailable` while it is away, whatever the policy."""
        return await self._guard.call(lambda: self._remote.usage(user))

    async def ping(self) -> None:
        """Whether the remote store answers; where it does not, `policy` says what becomes of admissions."""
        await self._guard.call(self._remote.ping)

    async def close(self) -> None:
        await self._report_last()
        await self._outbox.close()
        await self._remote.close()
        self._deadlines.close()
        # Last: whoever still waited counts as a failure, and many of them start a watch.
        await self._guard.close()

    async def _settle(self, settlements: Sequence[Settlement]) -> int:
        try:
            settled = await self._guard.call(lambda: self._remote.settle_many(settlements))
        except StoreUnavailable:
            self._outbox.settle(settlements)
            return await self._local.settle_many(settlements)
        if self._counts_here:
            await self._local.settle_many(settlements)
        return settled

    def heard(self, asked: _Asked, decision: Decision) -> None:
        """The remote store has decided."""
        self._guard.succeeded(asked.permit)
        subject = asked.admission.subject
        if self._leases is not None and (wish := asked.admission.wish) is not None:
            self._leases.given(asked.admission, wish, decision, asked.at_seconds)
            self._report_in_time()
        if not isinstance(subject, Source):
            heard = self._last_spent.get(subject) if self._last_spent is not None else None
            self._known.learn(subject, decision, heard)
        self._note_slot(asked.admission, decision)
        asked.set_result(decision)
        if decision.outcome is not Outcome.ADMITTED:
            self._tell_of_refusal(asked.admission, decision)

    def _note_slot(self, admission: Admission, decision: Decision) -> None:
        if decision.limits is None or not decision.limits.max_parallel:
            return
        if decision.outcome is Outcome.ADMITTED:
            self._local.hold(admission.subject, admission.charge_id)
        elif self._counts_here:
            # The share had room for it.
            self._local.release(admission.subject, admission.charge_id)

    def unheard(self, asked: _Asked, error: Exception) -> None:
        """The remote store has not decided."""
        if not isinstance(error, StoreUnavailable):
            asked.set_exception(error)
        elif isinstance(error, ItemRefused):
            # The store is there, and will never count this one: it is decided here, and nobody else's business.
            self._guard.succeeded(asked.permit)
            self._counts_until = self.clock() + WINDOW_SECONDS + BUCKET_SECONDS
            self._admit_after_all(asked)
        elif not asked.again:
            asked.again = True
            self._remote.ask(asked)
        else:
            self._guard.failed(asked.permit, error)
            self._admit_after_all(asked)

    def forget_leases(self, subject: Subject | None = None) -> None:
        """The limits of a subject have changed, or of anybody: the store decides."""
        if self._leases is None:
            return
        if subject is None:
            self._leases.end_all()
        else:
            self._leases.forget(subject)
        self._report_in_time()

    def wish_lost(self, admission: Admission) -> None:
        """The store may have given a lease that nobody knows of."""
        if self._leases is not None and admission.wish is not None:
            self._leases.lost(admission, admission.wish)
            self._report_in_time()

    def _report_in_time(self) -> None:
        """When the first lease ends; all of a second end together."""
        assert self._leases is not None
        end = self._leases.next_end_seconds
        if self._next_report is None and (end is not None or self._leases.wants_to_report):
            wait = max(0.0, end - self.clock()) if end is not None else 0.0
            self._next_report = asyncio.get_running_loop().call_later(wait + _AFTER_END_SECONDS, self._report_ended)

    def _report_ended(self) -> None:
        assert self._leases is not None
        self._next_report = None
        ended = self._leases.ended()
        if ended:
            task = asyncio.get_running_loop().create_task(self._report(ended))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)
        self._report_in_time()

    async def _report(self, reports: Sequence[Report]) -> None:
        for start in range(0, len(reports), _REPORTS_PER_CALL):
            some = reports[start : start + _REPORTS_PER_CALL]
            try:
                await self._guard.call(partial(self._remote.report_many, some))
            except StoreUnavailable:
                self._take_over(some)

    def _take_over(self, reports: Iterable[Report]) -> None:
        """What was let in under leases that the store was not told of: as if it had been let in here."""
        for report in reports:
            self._local.spend(report.subject, report.model, len(report.charges), report.tokens)
            for one in report.charges.values():
                self._outbox.admitted(one.admission, one.reserved, one.at_seconds)

    def _count_leases_here(self) -> None:
        if self._leases is not None and (len(self._leases) or self._leases.wants_to_report):
            self._leases.end_all()
            self._take_over(self._leases.ended())

    async def _report_last(self) -> None:
        if self._leases is None:
            return
        if self._next_report is not None:
            self._next_report.cancel()
        self._leases.end_all()
        await self._report(self._leases.ended())
        await asyncio.gather(*self._reporting)

    def _recovered(self) -> None:
        self._settled_at = self.clock() + SETTLING_SECONDS

    def _has_settled(self) -> bool:
        """Whether what was counted here is the store's business again; then it is forgotten here."""
        if self._outbox.admissions or self.clock() < max(self._settled_at, self._counts_until):
            return False
        self._counts_here = False
        self._local.end()
        return True

    def _refusal_of_share(self, admission: Admission) -> Awaitable[Decision] | None:
        """Other replicas may not have told the store yet what they admitted: until then both must agree, the store and
        this replica's share. Says nothing about later requests, so that nobody remembers it."""
        if self.clock() >= self._settled_at:
            return None
        decision = self._local.check(admission)
        if decision.outcome is Outcome.ADMITTED:
            return None
        answered = asyncio.get_running_loop().create_future()
        answered.set_result(decision)
        return answered

    def abandoned(self, admission: Admission) -> None:
        """Nobody waits for the decision any more."""
        self.wish_lost(admission)
        self._undo(admission)

    def _undo(self, admission: Admission) -> None:
        """Whether the store heard of it is not known, and nobody is served."""
        self._outbox.settle([Settlement(admission.subject, admission.charge_id, 0, model=admission.model)])
        self._outbox.release(Release(admission.subject, admission.charge_id))

    def _late(self, asked: _Asked) -> None:
        self._guard.late(asked.permit, self._guard.timeout_seconds)
        self._admit_after_all(asked)

    def _admit_after_all(self, asked: _Asked) -> None:
        self.wish_lost(asked.admission)
        try:
            decision = self._admit_here(asked.admission)
        except StoreUnavailable as error:
            self._undo(asked.admission)
            asked.set_exception(error)
            return
        asked.set_result(decision)
        if decision.outcome is not Outcome.ADMITTED:
            self._undo(asked.admission)
            # One late answer is no outage: the store may let the next request in, and nobody would look.
            if self.state is not BreakerState.CLOSED:
                self._tell_of_refusal(asked.admission, decision)

    async def _admit_without_asking(self, admission: Admission) -> Decision:
        decision = self._admit_here(admission)
        if decision.outcome is not Outcome.ADMITTED:
            self._tell_of_refusal(admission, decision)
        return decision

    def _tell_of_refusal(self, admission: Admission, decision: Decision) -> None:
        for listener in self.refused:
            listener(admission, decision)

    def _admit_here(self, admission: Admission) -> Decision:
        self._count_leases_here()
        if self.policy is StoreDown.CLOSED:
            raise self._guard.away()
        if self.policy is StoreDown.LOCAL:
            self._counts_here = True
            decision = self._local.admit(admission)
            if decision.outcome is Outcome.ADMITTED:
                self._outbox.admitted(admission, decision.reserved_tokens)
            return decision
        self._admitted_unlimited += 1
        return _UNLIMITED


class _Asked(Waiting):
    """An admission that the remote store was asked for."""

    def __init__(self, limits: ResilientLimits, admission: Admission, permit: Permit) -> None:
        super().__init__(admission, asyncio.get_running_loop())
        self.permit = permit
        self.at_seconds = limits.clock()
        self.again = False
        """Asked for the second time."""
        self._limits = limits

    def answered(self, decision: Decision) -> None:
        if not self.done():
            self._limits.heard(self, decision)

    def failed(self, error: Exception) -> None:
        if not self.done():
            self._limits.unheard(self, error)

    def cancel(self, msg: object = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self._limits.abandoned(self.admission)
        return cancelled


async def _awaited(answer: T | Awaitable[T]) -> T:
    return await answer if inspect.isawaitable(answer) else answer
