"""Requests of clients while something happens, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATH = "/v1/chat/completions"


@dataclass(slots=True)
class Outcome:
    """`failed`: everything that is not a complete 200."""

    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)
    last_failure_at: float = 0.0

    @property
    def failed(self) -> int:
        """Of all."""
        return self.total - self.statuses["200"]


async def ask(url: str, model: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """One request: status, headers, body."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        return await _ask(session, url, model, headers)


async def _ask(
    session: aiohttp.ClientSession, url: str, model: str, headers: dict[str, str], *, stream: bool = False
) -> tuple[int, dict[str, str], str]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    async with session.post(url + _PATH, json=body | ({"stream": True} if stream else {}), headers=headers) as response:
        text = await response.text()
        if stream and response.status == 200 and "[DONE]" not in text:
            raise aiohttp.ClientPayloadError("the stream ended early")
        return response.status, {key.lower(): value for key, value in response.headers.items()}, text


@asynccontextmanager
async def flowing(url: str, model: str, *, clients: int = 4, pause_seconds: float = 0.05) -> AsyncIterator[Outcome]:
    """Clients that ask one after the other, half of them for streams, while the block runs."""
    outcome, stop = Outcome(), asyncio.Event()

    async def client(number: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            while not stop.is_set():
                await _count(session, url, model, outcome, stream=number % 2 == 1)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause_seconds)

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    try:
        yield outcome
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _count(session: aiohttp.ClientSession, url: str, model: str, outcome: Outcome, *, stream: bool) -> None:
    try:
        status, headers, text = await _ask(session, url, model, {}, stream=stream)
        what = str(status)
        outcome.pods[headers.get("target-pod", "")] += status == 200
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what, text = type(error).__name__, str(error)
    outcome.total += 1
    outcome.statuses[what] += 1
    if what != "200":
        outcome.samples.setdefault(what, text[:300])
        outcome.last_failure_at = asyncio.get_running_loop().time()


def error_code(text: str) -> str:
    """`error.code` of a body; empty for what is no error of OpenAI's form."""
    try:
        return str(json.loads(text)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
