"""When requests are sent: each at its time (open loop), or when one before it is answered (closed loop).

Open loop: how slow answers are has no influence on when the next request is sent, as with real, independent clients.
What may delay a request is this process alone.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREPARE_SECONDS = 0.05
"""Before the first request is due."""
Job = Callable[[], Coroutine[None, None, None]]
"""Sends one request, and ends with its answer; it raises nothing but bugs."""


class LoadLoop:
    """One run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._began_seconds = 0.0
        self._broken: BaseException | None = None

    def now_seconds(self) -> float:
        """Since the first request was due."""
        return self._clock() - self._began_seconds

    def stop(self) -> None:
        """Sends no more, and gives up what is under way."""
        for task in self._tasks:
            task.cancel()

    async def open_loop(self, jobs: Iterable[tuple[float, Job]]) -> None:
        """Each at its time in seconds; then waits for the answers. Jobs are made one ahead of time."""
        await self._run([self._on_time(jobs)])

    async def closed_loop(self, jobs: Iterator[Job], concurrency: int, seconds: float | None = None) -> None:
        """So many clients; each sends when it has its answer, until time or jobs are up."""
        await self._run([self._one_after_another(jobs, seconds) for _ in range(concurrency)])

    async def _run(self, parts: list[Coroutine[None, None, None]]) -> None:
        """Raises what a job raised."""
        gc.collect()
        gc.freeze()  # a collection that walks all that was made before would delay what is due meanwhile
        self._began_seconds = self._clock() + PREPARE_SECONDS
        try:
            for part in parts:
                self._start(part)
            while self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            gc.unfreeze()
        if self._broken is not None:
            raise self._broken

    def _start(self, part: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._broken = error
            self.stop()

    async def _on_time(self, jobs: Iterable[tuple[float, Job]]) -> None:
        for due_seconds, job in jobs:
            # Also when behind time: requests must get out before the next is made.
            await asyncio.sleep(max(0.0, due_seconds - self.now_seconds()))
            self._start(job())

    async def _one_after_another(self, jobs: Iterator[Job], seconds: float | None) -> None:
        await asyncio.sleep(-self.now_seconds())
        while seconds is None or self.now_seconds() <= seconds:
            job = next(jobs, None)
            if job is None:
                return
            await job()
