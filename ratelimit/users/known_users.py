"""The last that was heard of each user: what a cache answers with, and what limits follow while the store is away.

A record that was read is exact. What an admission tells is less (limits, but no allowed models), so it is kept only
where nothing exact is known, or where it contradicts that. Bounded: 10,000 users, those heard of last, for an hour.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from ratelimit.users.users import UserRecord
from ratelimit.windows.decision import Decision, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.outage.last_spent import Heard
    from ratelimit.windows.limits import Limits


# Every admission tells the limits again; when they were told first is exact enough.
_SAME_SECONDS = 10.0


class Known(msgspec.Struct, frozen=True):
    """`record` is None for a user who does not exist."""

    record: UserRecord | None
    at: float
    exact: bool
    told: Limits | None = None
    """The limits that an admission told, when that is all that is known."""


class KnownUsers:
    """`clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], *, max_users: int = 10_000, max_age_seconds: float = 3600.0) -> None:
        self._clock = clock
        self._max_users = max_users
        self._max_age_seconds = max_age_seconds
        self._users: OrderedDict[str, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._users)

    def get(self, name: str) -> Known | None:
        known = self._users.get(name)
        if known is None or self._clock() - known.at < self._max_age_seconds:
            return known
        del self._users[name]
        return None

    def put(self, name: str, record: UserRecord | None, *, exact: bool = True, told: Limits | None = None) -> None:
        self._users[name] = Known(record, self._clock(), exact, told)
        self._users.move_to_end(name)
        if len(self._users) > self._max_users:
            self._users.popitem(last=False)

    def doubt(self, name: str) -> None:
        """The user was changed: what is known is no longer exact, but still the last that was heard."""
        known = self.get(name)
        if known is not None:
            self._users[name] = msgspec.structs.replace(known, exact=False)

    def learn(self, user: str, decision: Decision, heard: Heard | None = None) -> None:
        """`heard`: what came with this decision. Without it the decision's limits are taken for the user's own."""
        known = self.get(user)
        limits = decision.limits if decision.limits is None or heard is None else heard.limits
        if limits is not None and known is not None and known.told == limits:
            self._heard_again(user, known)
        elif decision.outcome is Outcome.UNKNOWN_USER:
            # The store has looked: it is as good as a read.
            self.put(user, None)
        elif known is None or known.record is None or not known.exact:
            record = _told_by(user, decision, limits)
            if record is not None:
                self.put(user, record, exact=False, told=limits)

    def _heard_again(self, user: str, known: Known) -> None:
        if self._clock() - known.at >= _SAME_SECONDS:
            self.put(user, known.record, exact=False, told=known.told)
        else:
            self._users.move_to_end(user)


def _told_by(user: str, decision: Decision, limits: Limits | None) -> UserRecord | None:
    if decision.outcome is Outcome.DISABLED:
        return UserRecord(user, disabled=True)
    if limits is None:
        return None
    return UserRecord(user, limits.requests_per_minute, limits.tokens_per_minute, limits.max_parallel)
