"""What clients send meanwhile: so many requests a second whatever becomes of them, and one who spends all it may."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field

import aiohttp

RATE_PER_SECOND = 40.0
"""A third of them streams."""
METER_RPM = 120
"""Of the one user that has a limit; it asks five times as often."""
_METER_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 15.0
_MESSAGES = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class Sent:
    """One request of those who have no limit."""

    at_seconds: float
    until_seconds: float
    said: str
    """A status, "cut" for an answer that broke off, or the kind of error."""
    stream: bool

    @property
    def is_well(self) -> bool:
        return self.said == "200"


@dataclass
class Traffic:
    """Runs from `start` to `stop`."""

    url: str
    sent: list[Sent] = field(default_factory=list)
    metered: list[float] = field(default_factory=list)
    """When the limited user was let in."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
        self._session = aiohttp.ClientSession(self.url, timeout=timeout)
        self._spawn(self._loop())
        self._spawn(self._meter())

    async def stop(self) -> None:
        """What is under way gets its time."""
        loops, asked = list(self._tasks)[:0], self._tasks
        for task in [task for task in asked if task.get_name() in ("loop", "meter")]:
            task.cancel()
            loops.append(task)
        await asyncio.gather(*loops, return_exceptions=True)
        await asyncio.gather(*list(self._tasks), return_exceptions=True)
        assert self._session is not None
        await self._session.close()

    def said(self, since: float = 0.0) -> Counter[str]:
        """How often what."""
        return Counter(one.said for one in self.sent if one.at_seconds >= since)

    def _spawn(self, what: Coroutine[None, None, None]) -> None:
        name = "loop" if not self._tasks else "meter" if len(self._tasks) == 1 else "request"
        task = asyncio.get_running_loop().create_task(what, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _loop(self) -> None:
        began, number = time.monotonic(), 0
        while True:
            number += 1
            self._spawn(self._request(stream=number % 3 == 0))
            await asyncio.sleep(max(0.0, began + number / RATE_PER_SECOND - time.monotonic()))

    async def _meter(self) -> None:
        while True:
            await asyncio.sleep(_METER_PAUSE_SECONDS)
            at = time.monotonic()
            if await self._post({"model": "m", "messages": _MESSAGES, "max_tokens": 1}, user="meter") == "200":
                self.metered.append(at)

    async def _request(self, *, stream: bool) -> None:
        at = time.monotonic()
        body = {"model": "m", "messages": _MESSAGES, "max_tokens": 40 if stream else 8, "stream": stream}
        said = await self._post(body, user="free")
        self.sent.append(Sent(at, time.monotonic(), said, stream))

    async def _post(self, body: Mapping[str, object], user: str) -> str:
        assert self._session is not None
        status = ""
        try:
            async with self._session.post("/v1/chat/completions", json=body, headers={"user": user}) as answer:
                status = str(answer.status)
                text = await answer.read()
                if body.get("stream") and status == "200" and b"[DONE]" not in text:
                    return "cut"
                return status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return "cut" if status == "200" else type(error).__name__


def most_in_a_minute(times: list[float]) -> int:
    """The largest number of them within any 60 s."""
    return max((sum(1 for one in times if at <= one < at + 60.0) for at in times), default=0)
