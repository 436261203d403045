"""Admissions that are asked for at the same time go to the store in one round trip.

What is asked for in one turn of the event loop makes one batch. At most `max_in_flight` batches are out; what is asked
for meanwhile goes with the next one. So an idle store is asked at once, and a busy one gets fewer and larger batches,
which is what keeps it from falling behind. Whoever stops waiting before its batch leaves is left out of it. A batch
without an answer after `timeout_seconds`, longer than anyone waits, is given up: it must not hold up those behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from ratelimit.store import StoreUnavailable
from ratelimit.users import CorruptUserRecord, check_user_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from ratelimit.decision import Admission, Decision, Settlement, Usage
    from ratelimit.store import BatchStore

    Waiting = tuple[Admission, asyncio.Future[Decision]]

_CLOSED = StoreUnavailable("limit store", "closed")


class BatchingLimits:
    """`LimitStore`: the given store, with its admissions batched."""

    def __init__(
        self, store: BatchStore, *, max_batch: int = 128, max_in_flight: int = 4, timeout_seconds: float = 0.1
    ) -> None:
        self._store = store
        self._max_batch = max_batch
        self._max_in_flight = max_in_flight
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[Waiting] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def __repr__(self) -> str:
        return f"BatchingLimits({self._store!r}, {len(self._waiting)} waiting, {len(self._in_flight)} batches out)"

    def admit(self, admission: Admission) -> asyncio.Future[Decision]:
        # A name that no user can have would spoil the batch that it is in.
        check_user_name(admission.user)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Decision] = loop.create_future()
        self._waiting.append((admission, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send)
        return future

    async def settle(self, settlement: Settlement) -> bool:
        return await self._store.settle(settlement)

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        return await self._store.settle_many(settlements)

    def release(self, user: str, charge_id: str) -> Awaitable[None] | None:
        return self._store.release(user, charge_id)

    async def usage(self, user: str) -> Usage | None:
        return await self._store.usage(user)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        _fail_all(self._waiting, _CLOSED)
        self._waiting.clear()
        for task in list(self._in_flight):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._store.close()

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._in_flight) < self._max_in_flight:
            batch = self._next_batch()
            if batch:
                task = asyncio.get_running_loop().create_task(self._ask(batch))
                self._in_flight.add(task)
                task.add_done_callback(self._landed)

    def _next_batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            if not waiting[1].done():
                batch.append(waiting)
        return batch

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()

    async def _ask(self, batch: list[Waiting]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answers = await self._store.admit_many([admission for admission, _ in batch])
        except asyncio.CancelledError:
            _fail_all(batch, _CLOSED)
            raise
        except TimeoutError:
            _fail_all(batch, StoreUnavailable("limit store", f"no answer within {self._timeout_seconds:g} s"))
            return
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            _fail_all(batch, error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, CorruptUserRecord):
                _fail(future, answer)
            elif not future.done():
                future.set_result(answer)


def _fail_all(waiting: Iterable[Waiting], error: Exception) -> None:
    for _, future in waiting:
        _fail(future, error)


def _fail(future: asyncio.Future[Decision], error: Exception) -> None:
    if future.done():
        return
    # Each waiter raises its own: a shared one would collect the tracebacks of all.
    future.set_exception(
        StoreUnavailable(error.address, error.reason) if isinstance(error, StoreUnavailable) else error
    )
