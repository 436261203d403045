"""Listens for announced changes of users, and tells whoever remembers something of them; reconnects by itself.

    delay before the next try = min(0.1 * 2^n, 5) s, less a random half        n: failures in a row

While the connection is gone, changes are missed. `missed` is told when it goes and after every failed try, so that
what was remembered does not outlive the gap by more than the last delay. A connection that held 10 s starts n anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ratelimit.store.limit_store import StoreUnavailable

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from ratelimit.store.limit_store import ChangeFeed

logger = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS = 0.1
"""Until the subscription is made again; doubles."""
_LONGEST_DELAY_SECONDS = 5.0
"""Between two tries."""
_CALM_SECONDS = 10.0
"""A subscription that held so long starts with the first delay again."""


class UserChanges:
    """`changed` hears each name, `gone` those of deleted users, `missed` that names may have been missed. `clock` is
    monotonic."""

    def __init__(
        self,
        feed: ChangeFeed,
        clock: Callable[[], float],
        rng: random.Random,
        *,
        changed: Sequence[Callable[[str], None]],
        missed: Sequence[Callable[[], None]],
        gone: Sequence[Callable[[str], None]] = (),
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._missed = missed
        self._gone = gone
        self._failures = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began = self._clock()
            reason = await self._listen()
            if self._clock() - began >= _CALM_SECONDS:
                self._failures = 0
            self._lost(reason)
            await asyncio.sleep(self._delay_seconds())

    async def _listen(self) -> str:
        """Why it ended."""
        try:
            async for change in self._feed.changes():
                for listener in (*self._changed, *self._gone) if change.gone else self._changed:
                    listener(change.name)
        except StoreUnavailable as error:
            return str(error)
        return "the connection was closed"

    def _lost(self, reason: str) -> None:
        # Once per outage; every further try ends the same way.
        log = logger.debug if self._failures else logger.warning
        log("changes of users are not heard of, what is known of them may be out of date for some seconds: %s", reason)
        self._failures += 1
        for listener in self._missed:
            listener()

    def _delay_seconds(self) -> float:
        longest = min(_FIRST_DELAY_SECONDS * 2.0 ** min(self._failures - 1, 10), _LONGEST_DELAY_SECONDS)
        return longest * (1 - self._rng.random() / 2)
