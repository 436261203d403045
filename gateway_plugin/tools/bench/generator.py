"""Sends asks at their times, whatever became of those before, and keeps what came of each.

Open loop: how slow answers are has no influence on when the next request is sent, as with real, independent clients.
What may delay a request is this process alone: each sample holds how late it was sent.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Protocol

from gateway_plugin.tools.bench.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping

    from gateway_plugin.tools.bench.asks import Ask
    from gateway_plugin.tools.bench.prompts import Texts
    from gateway_plugin.tools.bench.tally import Tally
    from gateway_plugin.tools.bench.target import BenchTarget

PREPARE_SECONDS = 0.05
HOPELESS = "nothing but failures from the start"


class AskSender(Protocol):
    """What a Client does."""

    target: BenchTarget

    async def send(self, sample: Sample, body: bytes, headers: Mapping[str, str]) -> list[float]:
        """Fills in the sample; gives the times between contents."""


class Generator:
    """One run with one strategy."""

    def __init__(self, sender: AskSender, texts: Texts, tally: Tally, clock: Callable[[], float]) -> None:
        self._sender = sender
        self._clock = clock
        self._texts = texts
        self.tally = tally
        self._tasks: set[asyncio.Task[None]] = set()
        self._began_seconds = 0.0
        self._broken: BaseException | None = None

    def stop(self, why: str) -> None:
        """Sends no more, and gives up what is under way."""
        if not self.tally.stopped:
            self.tally.stopped = why
            for task in self._tasks:
                task.cancel()

    async def open_loop(self, asks: Iterable[Ask]) -> None:
        """Each ask at its time; then waits for the answers."""
        await self._run([self._send_on_time(asks)])

    async def closed_loop(self, asks: Iterator[Ask], concurrency: int, seconds: float | None) -> None:
        """So many clients; each asks when it has its answer, until time or asks are up."""
        numbered = enumerate(asks)
        await self._run([self._one_after_another(numbered, seconds) for _ in range(concurrency)])

    async def _run(self, jobs: list[Coroutine[None, None, None]]) -> None:
        gc.collect()
        gc.freeze()  # a collection that walks all that was made before would delay what is due meanwhile
        began_cpu_seconds = time.process_time()
        self._began_seconds = self._clock() + PREPARE_SECONDS
        try:
            for job in jobs:
                self._start(job)
            while self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            self.stop("cancelled")
            raise
        finally:
            gc.unfreeze()
        self.tally.seconds = max(self._now_seconds(), 0.0)
        self.tally.cpu_seconds = time.process_time() - began_cpu_seconds
        if self._broken is not None:
            raise self._broken

    def _start(self, job: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._broken = error
            self.stop("a bug")

    async def _send_on_time(self, asks: Iterable[Ask]) -> None:
        for number, ask in enumerate(asks):
            body = self._body(number, ask)
            # Also when behind time: requests must get out before the next is made.
            await asyncio.sleep(max(0.0, ask.at_seconds - self._now_seconds()))
            self._start(self._one(ask, ask.at_seconds, body))

    async def _one_after_another(self, numbered: Iterator[tuple[int, Ask]], seconds: float | None) -> None:
        await asyncio.sleep(-self._now_seconds())
        for number, ask in numbered:
            if seconds is not None and self._now_seconds() > seconds:
                return
            body = self._body(number, ask)
            await self._one(ask, self._now_seconds(), body)

    async def _one(self, ask: Ask, due_seconds: float, body: bytes) -> None:
        headers = self._sender.target.headers_of(self.tally.strategy, ask.user)
        sample = Sample(due_seconds, ask.user, late_seconds=self._now_seconds() - due_seconds)
        self.tally.send(sample)
        try:
            gaps_seconds = await self._sender.send(sample, body, headers)
        except asyncio.CancelledError:
            self.tally.give_up()
            raise
        self.tally.end(sample, gaps_seconds)
        if self.tally.hopeless:
            self.stop(HOPELESS)

    def _body(self, number: int, ask: Ask) -> bytes:
        return self._sender.target.body(self._texts.prompt(ask, number), ask.output_tokens)

    def _now_seconds(self) -> float:
        return self._clock() - self._began_seconds
