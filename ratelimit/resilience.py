"""A limit store that is there when the remote one is not.

While the remote store answers, it decides. A call that fails, is late (50 ms) or would meet an open circuit breaker is
decided here, by policy:

    local   each replica's share of the last known limits (`local_limits`)
    open    everyone is let in, unlimited
    closed  `StoreUnavailable`

An admission whose answer was lost may have happened on the store. If it is let in here, the end of its exchange is told
to the store as always; if not, it is undone: a settlement of no tokens and a release wait for the store (`outbox`).
"""

from __future__ import annotations

import asyncio
import inspect
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ratelimit.breaker import State
from ratelimit.decision import Decision, Outcome, Settlement
from ratelimit.outbox import SETTLEMENTS_PER_CALL, Outbox, Release
from ratelimit.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ratelimit.decision import Admission, Usage
    from ratelimit.guard import StoreGuard
    from ratelimit.known_users import KnownUsers
    from ratelimit.local_limits import LocalLimits
    from ratelimit.store import LimitStore

T = TypeVar("T")

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
        remote: LimitStore,
        guard: StoreGuard,
        known: KnownUsers,
        local: LocalLimits,
        clock: Callable[[], float],
        policy: StoreDown = StoreDown.LOCAL,
    ) -> None:
        self.policy = policy
        self._remote = remote
        self._guard = guard
        self._known = known
        self._local = local
        self._outbox = Outbox(remote, guard, clock)
        self._admitted_unlimited = 0

    def __repr__(self) -> str:
        return f"ResilientLimits({self._remote!r}, {self.state.value}, {len(self._outbox)} queued)"

    @property
    def state(self) -> State:
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

    async def admit(self, admission: Admission) -> Decision:
        if self.state is not State.CLOSED:
            return await self._admit_here(admission)
        try:
            decision = await self._guard.call(lambda: _awaited(self._remote.admit(admission)))
        except StoreUnavailable:
            return await self._admit_after_all(admission)
        except asyncio.CancelledError:
            self._undo(admission)
            raise
        self._known.learn(admission.user, decision)
        return decision

    async def settle(self, settlement: Settlement) -> bool:
        return await self.settle_many([settlement]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """Never raises for a store that is away; then it counts what this process had not settled before."""
        settled = 0
        for start in range(0, len(settlements), SETTLEMENTS_PER_CALL):
            settled += await self._settle(settlements[start : start + SETTLEMENTS_PER_CALL])
        return settled

    async def release(self, user: str, charge_id: str) -> None:
        """Never raises for a store that is away."""
        self._local.release(user, charge_id)
        try:
            await self._guard.call(lambda: _awaited(self._remote.release(user, charge_id)))
        except StoreUnavailable:
            self._outbox.release(Release(user, charge_id))

    async def usage(self, user: str) -> Usage | None:
        """What the remote store knows; `StoreUnavailable` while it is away, whatever the policy."""
        return await self._guard.call(lambda: self._remote.usage(user))

    async def ping(self) -> None:
        """Whether the remote store answers; where it does not, `policy` says what becomes of admissions."""
        await self._guard.call(self._remote.ping)

    async def close(self) -> None:
        await self._outbox.close()
        await self._guard.close()
        await self._remote.close()

    async def _settle(self, settlements: Sequence[Settlement]) -> int:
        try:
            return await self._guard.call(lambda: self._remote.settle_many(settlements))
        except StoreUnavailable:
            self._outbox.settle(settlements)
            return await self._local.settle_many(settlements)

    async def _admit_after_all(self, admission: Admission) -> Decision:
        """The store was asked; whether it heard is not known."""
        try:
            decision = await self._admit_here(admission)
        except StoreUnavailable:
            self._undo(admission)
            raise
        if decision.outcome is not Outcome.ADMITTED:
            self._undo(admission)
        return decision

    async def _admit_here(self, admission: Admission) -> Decision:
        if self.policy is StoreDown.CLOSED:
            raise self._guard.away()
        if self.policy is StoreDown.LOCAL:
            return await self._local.admit(admission)
        self._admitted_unlimited += 1
        return _UNLIMITED

    def _undo(self, admission: Admission) -> None:
        self._outbox.settle([Settlement(admission.user, admission.charge_id, 0, model=admission.model)])
        self._outbox.release(Release(admission.user, admission.charge_id))


async def _awaited(answer: T | Awaitable[T]) -> T:
    return await answer if inspect.isawaitable(answer) else answer
