"""Sends asks with one strategy, and keeps what came of each. Each sample holds how late it was sent."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway_plugin.tools.bench.load_loops import LoadLoop
from gateway_plugin.tools.bench.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from gateway_plugin.tools.bench.asks import Ask
    from gateway_plugin.tools.bench.load_loops import Job
    from gateway_plugin.tools.bench.prompts import Texts
    from gateway_plugin.tools.bench.tally import Tally
    from gateway_plugin.tools.bench.target import BenchTarget

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
        self._texts = texts
        self._loop = LoadLoop(clock)
        self.tally = tally

    def stop(self, why: str) -> None:
        """Sends no more, and gives up what is under way."""
        if not self.tally.stopped:
            self.tally.stopped = why
            self._loop.stop()

    async def open_loop(self, asks: Iterable[Ask]) -> None:
        """Each ask at its time; then waits for the answers."""
        due = ((ask.at_seconds, self._job(number, ask, ask.at_seconds)) for number, ask in enumerate(asks))
        await self._measured(self._loop.open_loop(due))

    async def closed_loop(self, asks: Iterator[Ask], concurrency: int, seconds: float | None) -> None:
        """So many clients; each asks when it has its answer, until time or asks are up."""
        jobs = (self._job(number, ask, None) for number, ask in enumerate(asks))
        await self._measured(self._loop.closed_loop(jobs, concurrency, seconds))

    async def _measured(self, run: Awaitable[None]) -> None:
        began_cpu_seconds = time.process_time()
        try:
            await run
        except asyncio.CancelledError:
            self.stop("cancelled")
            raise
        except BaseException:
            self.stop("a bug")
            raise
        finally:
            self.tally.seconds = max(self._loop.now_seconds(), 0.0)
            self.tally.cpu_seconds = time.process_time() - began_cpu_seconds

    def _job(self, number: int, ask: Ask, due_seconds: float | None) -> Job:
        """Its body is made now, before it is due; an ask without a time is due when it is sent."""
        body = self._sender.target.body(self._texts.prompt(ask, number), ask.output_tokens)
        return partial(self._one, ask, due_seconds, body)

    async def _one(self, ask: Ask, due_seconds: float | None, body: bytes) -> None:
        headers = self._sender.target.headers_of(self.tally.strategy, ask.user)
        now_seconds = self._loop.now_seconds()
        due_seconds = now_seconds if due_seconds is None else due_seconds
        sample = Sample(due_seconds, ask.user, late_seconds=now_seconds - due_seconds)
        self.tally.send(sample)
        try:
            gaps_seconds = await self._sender.send(sample, body, headers)
        except asyncio.CancelledError:
            self.tally.give_up()
            raise
        self.tally.end(sample, gaps_seconds)
        if self.tally.hopeless:
            self.stop(HOPELESS)
