"""User records for what has to be known before an admission: is the user there, disabled, allowed this model?

A record counts as fresh for 5 s, "no such user" for 1 s, and neither after a change was announced (`user_changes`).
Concurrent questions about one user are one read. When the store cannot be read the last known answer stands; the
admission itself checks the record again, on the store.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from ratelimit.store.limit_store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.outage.store_guard import StoreGuard
    from ratelimit.store.limit_store import UserStore
    from ratelimit.users.known_users import Known, KnownUsers
    from ratelimit.users.users import UserRecord

FRESH_SECONDS = 5.0
"""A changed user is read again after this, if the news of it is lost."""
FRESH_ABSENT_SECONDS = 1.0
"""A user that is made works after this."""


class UserCache:
    """`clock` is monotonic. A read waits half as long as an admission, so that both together end in time."""

    def __init__(
        self,
        users: UserStore,
        guard: StoreGuard,
        known: KnownUsers,
        clock: Callable[[], float],
        *,
        timeout_seconds: float = 0.025,
    ) -> None:
        self._users = users
        self._guard = guard
        self._known = known
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._reads: dict[str, asyncio.Task[UserRecord | None]] = {}
        self._not_before = float("-inf")

    def __repr__(self) -> str:
        return f"UserCache({len(self._known)} users, {len(self._reads)} reads)"

    def peek(self, name: str) -> Known | None:
        """What is freshly known, without asking; None: `get` would have to."""
        known = self._known.get(name)
        return known if known is not None and self._is_fresh(known) else None

    async def get(self, name: str) -> UserRecord | None:
        """None: no such user. `StoreUnavailable` only when nothing was ever heard of the user."""
        known = self.peek(name)
        if known is not None:
            return known.record
        try:
            # One waiter that is cancelled must not end the read of all others.
            return await asyncio.shield(self._read(name))
        except StoreUnavailable:
            known = self._known.get(name)
            if known is None:
                raise
            return known.record

    def invalidate(self, name: str) -> None:
        """The user was changed or deleted: what is known is the past, and so is what is being read."""
        self._known.doubt(name)
        self._reads.pop(name, None)

    def invalidate_all(self) -> None:
        """Changes may have been missed."""
        self._not_before = self._clock()
        self._reads.clear()

    def _is_fresh(self, known: Known) -> bool:
        seconds = FRESH_ABSENT_SECONDS if known.record is None else FRESH_SECONDS
        return known.exact and known.at >= self._not_before and self._clock() - known.at < seconds

    def _read(self, name: str) -> asyncio.Task[UserRecord | None]:
        task = self._reads.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(name))
            task.add_done_callback(functools.partial(self._note, name))
            self._reads[name] = task
        return task

    async def _ask(self, name: str) -> UserRecord | None:
        return await self._guard.call(lambda: self._users.read(name), timeout_seconds=self._timeout_seconds)

    def _note(self, name: str, task: asyncio.Task[UserRecord | None]) -> None:
        # Looking at the error also keeps asyncio from reporting it when nobody waits any more.
        succeeded = not task.cancelled() and task.exception() is None
        if self._reads.get(name) is not task:
            return
        del self._reads[name]
        if succeeded:
            self._known.put(name, task.result())
