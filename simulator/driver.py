"""The engine in real time: one timer for the whole engine, and a stream of token events per HTTP request.

The timer stands at the engine's next event. A late wake-up does not slow the model down: the engine does each thing at
its own time, and the tokens of several steps then come out together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as Items

    from simulator.engine import Engine
    from simulator.sequence import EngineRequest, Sequence, TokenEvent


class TokenStream:
    """The tokens of one HTTP request's sequences: `async for index, event in stream`.

    Whoever opens a stream closes it, in a `finally`: that aborts what has not ended, and forgets the rest.
    """

    def __init__(self, driver: EngineDriver, sequences: list[Sequence]) -> None:
        self.sequences = sequences
        self._driver = driver
        self._pending: deque[tuple[int, TokenEvent]] = deque()
        self._unfinished = len(sequences)
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> tuple[int, TokenEvent]:
        while not self._pending:
            if not self._unfinished:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._pending.popleft()

    def close(self) -> None:
        self._driver.abandon(self.sequences)

    def feed(self, index: int, event: TokenEvent) -> None:
        self._pending.append((index, event))
        self._unfinished -= event.finish_reason is not None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EngineDriver:
    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._streams: dict[Sequence, tuple[TokenStream, int]] = {}

    @property
    def active_requests(self) -> int:
        return len(self._streams)

    def open(self, requests: Items[EngineRequest]) -> TokenStream:
        """All of `requests` at once: the prompts, or the choices, of one HTTP request."""
        now = self._loop.time()
        stream = TokenStream(self, [self.engine.submit(request, now) for request in requests])
        for index, sequence in enumerate(stream.sequences):
            self._streams[sequence] = stream, index
        self._set_timer()
        return stream

    def abandon(self, sequences: Items[Sequence]) -> None:
        for sequence in sequences:
            if self._streams.pop(sequence, None) is not None:
                self.engine.abort(sequence)

    def stop(self) -> None:
        self.abandon(tuple(self._streams))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and (at := self.engine.next_event_time()) is not None:
            self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        for event in self.engine.advance(self._loop.time()):
            stream, index = self._streams[event.sequence]
            stream.feed(index, event)
        self._set_timer()
