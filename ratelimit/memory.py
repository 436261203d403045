"""Limits and users in this process: exact for one replica, gone when it ends.

Counters live in one map per window and go with it, so what is held is bounded by the users of the last two windows.
Settled charges are forgotten after 180 s, or earlier, oldest first, when there are more than `max_settled` of them: a
duplicate that arrives later than that is charged again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ratelimit.admission import Reading, account, judge, usage_of
from ratelimit.decision import NOTHING, UNKNOWN_USER, Cost, Decision, Outcome, Settlement, Usage
from ratelimit.limits import AIBRIX_DEFAULTS, LimitDefaults, effective_limits
from ratelimit.store import SETTLED_SECONDS
from ratelimit.users import UserRecord, check_user_name
from ratelimit.window import Counter, window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNSPENT = (0, 0)


class MemoryStore:
    """`LimitStore` and `UserStore`; `clock` gives seconds since the epoch."""

    def __init__(
        self, clock: Callable[[], float], defaults: LimitDefaults = AIBRIX_DEFAULTS, *, max_settled: int = 100_000
    ) -> None:
        self._clock = clock
        self._defaults = defaults
        self._users: dict[str, UserRecord] = {}
        self._counters = _Counters()
        self._settled = _SettledCharges(max_settled)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._users)} users, {self._counters!r}, {self._settled!r})"

    def admit(self, user: str, cost: Cost) -> Decision:
        check_user_name(user)
        record = self._users.get(user)
        if record is None:
            return UNKNOWN_USER
        limits = effective_limits(record, self._defaults)
        now = self._clock()
        reading = self._counters.read(user, now)
        outcome = judge(reading, limits, cost)
        if outcome is Outcome.ADMITTED:
            self._counters.spend(user, now, cost.requests, cost.tokens)
        return account(outcome, reading, limits, cost)

    async def settle(self, user: str, charge_id: str, tokens: int) -> bool:
        return await self.settle_many([Settlement(user, charge_id, tokens)]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        for settlement in settlements:
            check_user_name(settlement.user)
        now = self._clock()
        return sum(self._settle(settlement, now) for settlement in settlements)

    def _settle(self, settlement: Settlement, now: float) -> bool:
        if not self._settled.add((settlement.user, settlement.charge_id), now):
            return False
        self._counters.spend(settlement.user, now, 0, max(settlement.tokens, 0))
        return True

    async def usage(self, user: str) -> Usage | None:
        return usage_of(self.admit(user, NOTHING))

    async def ping(self) -> None:
        """There is nothing that could be away."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def create(self, record: UserRecord) -> bool:
        check_user_name(record.name)
        if record.name in self._users:
            return False
        self._users[record.name] = record
        return True

    async def read(self, name: str) -> UserRecord | None:
        check_user_name(name)
        return self._users.get(name)

    async def update(self, record: UserRecord) -> bool:
        check_user_name(record.name)
        if record.name not in self._users:
            return False
        self._users[record.name] = record
        return True

    async def delete(self, name: str) -> bool:
        check_user_name(name)
        self._counters.drop(name)
        return self._users.pop(name, None) is not None

    async def names(self, limit: int) -> list[str]:
        return sorted(self._users)[:limit]


class _Counters:
    """(requests, tokens) per user, in the previous and in the current window."""

    def __init__(self) -> None:
        self._window = 0
        self._previous: dict[str, tuple[int, int]] = {}
        self._current: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"{len(self._previous)} + {len(self._current)} counters"

    def read(self, user: str, now: float) -> Reading:
        elapsed = self._roll(now)
        requests, tokens = zip(self._previous.get(user, _UNSPENT), self._current.get(user, _UNSPENT), strict=True)
        return Reading(Counter(*requests), Counter(*tokens), elapsed)

    def spend(self, user: str, now: float, requests: int, tokens: int) -> None:
        if not requests and not tokens:
            return
        self._roll(now)
        spent = self._current.get(user, _UNSPENT)
        self._current[user] = (spent[0] + requests, spent[1] + tokens)

    def drop(self, user: str) -> None:
        self._previous.pop(user, None)
        self._current.pop(user, None)

    def _roll(self, now: float) -> float:
        window, elapsed = window_at(now)
        if window != self._window:
            # A clock that was set back by a window finds that window's counters where it left them.
            known = {self._window - 1: self._previous, self._window: self._current}
            self._previous, self._current = known.get(window - 1, {}), known.get(window, {})
            self._window = window
        return elapsed


class _SettledCharges:
    """The charges of the last 180 s, oldest first."""

    def __init__(self, max_charges: int) -> None:
        self._max_charges = max_charges
        self._settled_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __repr__(self) -> str:
        return f"{len(self._settled_at)} settled"

    def add(self, charge: tuple[str, str], now: float) -> bool:
        """False when the charge is remembered already."""
        self._forget_until(now - SETTLED_SECONDS)
        if charge in self._settled_at:
            return False
        if len(self._settled_at) >= self._max_charges:
            self._settled_at.popitem(last=False)
        self._settled_at[charge] = now
        return True

    def _forget_until(self, time: float) -> None:
        while self._settled_at and next(iter(self._settled_at.values())) <= time:
            self._settled_at.popitem(last=False)
