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

from ratelimit.store.deadlines import Deadlines
from ratelimit.store.limit_store import StoreUnavailable
from ratelimit.users.subjects import check_subject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from ratelimit.store.limit_store import BatchStore, Replay
    from ratelimit.users.subjects import Subject
    from ratelimit.windows.decision import Admission, Decision, Report, Settlement, Usage

_CLOSED = StoreUnavailable("limit store", "closed")


class Waiting(asyncio.Future["Decision"]):
    """The decision about an admission, to come. What is told of it when nobody waits any more is passed over."""

    def __init__(self, admission: Admission, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.admission = admission

    def answered(self, decision: Decision) -> None:
        """The store has decided."""
        if not self.done():
            self.set_result(decision)

    def failed(self, error: Exception) -> None:
        """The store has not decided. The error may be told to others, too."""
        if not self.done():
            # Each waiter raises its own: a shared one would collect the tracebacks of all.
            own = type(error)(error.address, error.reason) if isinstance(error, StoreUnavailable) else error
            self.set_exception(own)


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
        self._in_flight: dict[asyncio.Task[None], list[Waiting]] = {}
        self._deadlines: Deadlines[asyncio.Task[None]] = Deadlines(timeout_seconds, self._give_up)
        self._scheduled = False
        self._closed = False

    def __repr__(self) -> str:
        return f"BatchingLimits({self._store!r}, {len(self._waiting)} waiting, {len(self._in_flight)} batches out)"

    def admit(self, admission: Admission) -> Waiting:
        waiting = Waiting(admission, asyncio.get_running_loop())
        self.ask(waiting)
        return waiting

    def ask(self, waiting: Waiting) -> None:
        """As `admit`, of whoever brings a future along."""
        # A name that no user can have would spoil the batch that it is in.
        check_subject(waiting.admission.subject)
        if self._closed:
            waiting.failed(_CLOSED)
            return
        self._waiting.append(waiting)
        if not self._scheduled:
            self._scheduled = True
            waiting.get_loop().call_soon(self._send)

    async def settle(self, settlement: Settlement) -> bool:
        return await self._store.settle(settlement)

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        return await self._store.settle_many(settlements)

    async def replay_many(self, replays: Sequence[Replay]) -> None:
        await self._store.replay_many(replays)

    async def report_many(self, reports: Sequence[Report]) -> None:
        await self._store.report_many(reports)

    def release(self, subject: Subject, charge_id: str) -> Awaitable[None] | None:
        return self._store.release(subject, charge_id)

    async def usage(self, user: str) -> Usage | None:
        return await self._store.usage(user)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        self._closed = True
        _fail_all(self._waiting, _CLOSED)
        self._waiting.clear()
        for task in list(self._in_flight):
            self._fail_batch(task, _CLOSED)
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._deadlines.close()
        await self._store.close()

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._in_flight) < self._max_in_flight:
            batch = self._next_batch()
            if batch:
                task = asyncio.get_running_loop().create_task(self._ask(batch))
                self._in_flight[task] = batch
                self._deadlines.watch(task)
                task.add_done_callback(self._landed)

    def _next_batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            if not waiting.done():
                batch.append(waiting)
        return batch

    def _landed(self, task: asyncio.Task[None]) -> None:
        batch = self._in_flight.pop(task, ())
        if task.cancelled():
            # By somebody else, as at the end of the loop.
            _fail_all(batch, _CLOSED)
        self._send()

    def _give_up(self, task: asyncio.Task[None]) -> None:
        self._fail_batch(task, StoreUnavailable("limit store", f"no answer within {self._timeout_seconds:g} s"))

    def _fail_batch(self, task: asyncio.Task[None], error: StoreUnavailable) -> None:
        batch = self._in_flight.pop(task, ())
        task.cancel()
        _fail_all(batch, error)

    async def _ask(self, batch: list[Waiting]) -> None:
        try:
            answers = await self._store.admit_many([waiting.admission for waiting in batch])
            for waiting, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    waiting.failed(answer)
                else:
                    waiting.answered(answer)
        except Exception as error:  # noqa: BLE001 - whoever still waits gets it, whatever it is
            _fail_all(batch, error)


def _fail_all(waiting: Iterable[Waiting], error: Exception) -> None:
    for one in waiting:
        one.failed(error)
