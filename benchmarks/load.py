"""Load from a process of its own: raw HTTP/1.1 over kept-alive connections, closed loop or open loop.

`await run(Load(...))` starts `python -m benchmarks.load_worker` for one load; a `LoadProcess` sends many, one after
another. Time to first byte is from the write of a request to the first bytes of its response. A request that is not
whole `timeout_seconds` after its write is a timeout; a connection that breaks or a status other than 200 is an error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Self

BODY_BYTES = 1200
USERS = 10
_LONGEST_ANSWER_BYTES = 64 * 2**20


class LoadError(RuntimeError):
    """The process that sends has ended."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `rate_per_second` 0: closed loop, each of `concurrency` connections sends when it may."""

    port: int
    requests: int
    concurrency: int = 32
    rate_per_second: float = 0.0
    stream: bool = False
    chunks: int = 128
    gap_ms: int = 4
    with_user: bool = False
    body_bytes: int = BODY_BYTES
    prompts: int = USERS
    """How many different ones."""
    headers: dict[str, str] = field(default_factory=dict)
    """Beside the usual ones."""
    abort_share: float = 0.0
    """Of the requests, those whose client goes away: half amid its own body, half at any moment after."""
    timeout_seconds: float = 60.0
    seed: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    completed: int = 0
    aborted: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    timeouts: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the process that sent it."""
    ttfb_ms: list[float] = field(default_factory=list)
    frames_per_stream: float = 0.0
    """HTTP chunks of a streamed response as the client saw them: fewer than sent, when Envoy joined some."""
    ended_at: list[float] = field(default_factory=list)
    """When each request ended that completed: seconds since the epoch."""
    failed_at: list[float] = field(default_factory=list)
    """The same of errors and timeouts."""


class LoadProcess:
    """Sends loads from another process; an async context manager."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.load_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_ANSWER_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def run(self, load: Load) -> Outcome:
        """Sends one load; raises LoadError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        answer = await self._process.stdout.readline()
        if not answer:
            raise LoadError(f"the load's process ended with {await self._process.wait()}")
        return Outcome(**json.loads(answer))


async def run(load: Load) -> Outcome:
    """Sends one load from a process that ends with it."""
    async with LoadProcess() as process:
        return await process.run(load)
