"""What every call to a remote store passes: a deadline, the circuit breaker, and the watch for the store's return.

A call ends within `timeout_seconds`, and while the breaker is not closed it fails at once: an outage costs a request at
most one deadline, and most requests nothing. The first opening starts a task that pings the store, one probe at a time,
until it answers; no request waits for a probe.

A call that fails before its deadline is made once more: after a server has restarted, every pooled connection fails at
its first use. So whatever is asked must be safe to repeat, as everything is that goes by a charge id.

A deadline that passes while the event loop is held up by other work says nothing about the store (see `deadlines`).

Admissions are too many for a coroutine each: they take a permit, tell what became of it, and have a deadline of their
own (`resilience`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

from ratelimit.outage.breaker import DEFAULT_BREAKER, Breaker, BreakerSettings, BreakerState
from ratelimit.store.deadlines import TURNS_OF_GRACE
from ratelimit.store.limit_store import ItemRefused, StoreUnavailable

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from ratelimit.outage.breaker import Permit

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SHORTEST_SLEEP_SECONDS = 0.001
"""So that no clock makes it spin."""


class StoreGuard:
    """Guards the store that `ping` asks; `name` is how logs and errors call it. `clock` is monotonic."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        rng: random.Random,
        *,
        name: str = "limit store",
        timeout_seconds: float = 0.05,
        settings: BreakerSettings = DEFAULT_BREAKER,
    ) -> None:
        self.timeouts = 0
        self.timeout_seconds = timeout_seconds
        self.recovered: list[Callable[[], None]] = []
        self._ping = ping
        self._clock = clock
        self._name = name
        self._breaker = Breaker(clock, rng, settings)
        self._watch: asyncio.Task[None] | None = None
        self._away_since = 0.0

    def __repr__(self) -> str:
        return f"StoreGuard({self._name}, {self._breaker!r}, {self.timeouts} timeouts)"

    @property
    def state(self) -> BreakerState:
        return self._breaker.state

    @property
    def times_opened(self) -> int:
        return self._breaker.times_opened

    async def call(self, ask: Callable[[], Awaitable[T]], *, timeout_seconds: float | None = None) -> T:
        """What `ask` returns; `StoreUnavailable` when the store fails twice, is late, or is known to be away."""
        permit = self.permit()
        if permit is None:
            raise self.away()
        return await self._ask(permit, ask, timeout_seconds or self.timeout_seconds)

    def away(self) -> StoreUnavailable:
        """What is raised without asking the store."""
        return StoreUnavailable(self._name, "it was away when last asked")

    def permit(self) -> Permit | None:
        """To ask the store once; None while it is away. What became of it is told by one of the next three."""
        return self._breaker.permit()

    def succeeded(self, permit: Permit) -> None:
        """The store answered."""
        self._breaker.succeeded(permit)

    def failed(self, permit: Permit, error: StoreUnavailable) -> None:
        """The store failed, twice."""
        was_closed = self.state is BreakerState.CLOSED
        self._breaker.failed(permit)
        if was_closed and self.state is BreakerState.OPEN:
            self._away_since = self._clock()
            logger.warning("the %s is away, it is not asked until it answers a probe: %s", self._name, error)
            self._watch = asyncio.get_running_loop().create_task(self._probe_until_closed())

    def late(self, permit: Permit, timeout_seconds: float) -> StoreUnavailable:
        """The deadline passed; the error to raise."""
        self.timeouts += 1
        error = StoreUnavailable(self._name, f"no answer within {timeout_seconds:g} s")
        self.failed(permit, error)
        return error

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def _ask(self, permit: Permit, ask: Callable[[], Awaitable[T]], timeout_seconds: float) -> T:
        try:
            answer = await _within(timeout_seconds, ask)
        except TimeoutError:
            raise self.late(permit, timeout_seconds) from None
        except ItemRefused:
            # An answer, if no good one.
            self._breaker.succeeded(permit)
            raise
        except StoreUnavailable as error:
            self.failed(permit, error)
            raise
        except BaseException:
            # A cancelled caller, or a bad name or record: no word about whether the store works.
            self._breaker.abandoned(permit)
            raise
        self._breaker.succeeded(permit)
        return answer

    async def _probe_until_closed(self) -> None:
        while self.state is not BreakerState.CLOSED:
            # A timer may ring a little early; what is left then is too short for another one.
            await asyncio.sleep(max(self._breaker.seconds_until_probe(), _SHORTEST_SLEEP_SECONDS))
            permit = self._breaker.probe()
            if permit is not None:
                await self._probe(permit)
        logger.warning("the %s is back after %.1f s", self._name, self._clock() - self._away_since)
        for listener in self.recovered:
            listener()

    async def _probe(self, permit: Permit) -> None:
        try:
            await self._ask(permit, self._ping, self.timeout_seconds)
        except StoreUnavailable as error:
            logger.debug("still away: %s", error)
        except Exception:
            # Whatever it is, the watch has to go on: nothing else would end the outage.
            logger.exception("the probe of the %s went wrong", self._name)


async def _within(seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(None) as scope:
        deadline = _Deadline(seconds, scope)
        try:
            try:
                return await ask()
            except ItemRefused:
                raise
            except StoreUnavailable:
                return await ask()
        finally:
            deadline.cancel()


class _Deadline:
    """Ends `scope` after `seconds` and some turns of the event loop."""

    def __init__(self, seconds: float, scope: asyncio.Timeout) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._turns_left = TURNS_OF_GRACE
        self._handle: asyncio.Handle = self._loop.call_later(seconds, self._next_turn)

    def cancel(self) -> None:
        self._handle.cancel()

    def _next_turn(self) -> None:
        if self._turns_left:
            self._turns_left -= 1
            self._handle = self._loop.call_soon(self._next_turn)
        else:
            self._scope.reschedule(self._loop.time())
