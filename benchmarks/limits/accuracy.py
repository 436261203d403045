"""How exact limits are when many ask at once for one user, whose limit is far below what they ask for.

Two processes (one, with limits in memory) of 32 tasks each. The run is shorter than the limits' minute, so that nothing
that was spent comes back meanwhile: exactly the limit should pass. For tokens that is its whole number of admissions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.limits.asking import ENDLESS_REQUESTS, ENDLESS_TOKENS, TOKENS
from ratelimit import Admission, MemoryStore, Outcome, RedisStore, UserRecord
from ratelimit.store.batching import BatchingLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit import LimitStore

PROCESSES, TASKS = 2, 32
REQUEST_LIMIT = 1000
TOKEN_LIMIT = 1000 * TOKENS + TOKENS // 2
ASKED_SHARE = 2.0
"""Of the limit, all processes together."""
KINDS = ("requests", "tokens")


class Accuracy(NamedTuple):
    """What passed of one user's limit."""

    store: str
    kind: str
    asked: int
    admitted: int
    limit: int
    """In admissions."""


def user(name: str, kind: str) -> UserRecord:
    """Limited by requests, or by tokens."""
    if kind == "requests":
        return UserRecord(name, rpm=REQUEST_LIMIT, tpm=ENDLESS_TOKENS)
    return UserRecord(name, rpm=ENDLESS_REQUESTS, tpm=TOKEN_LIMIT)


def limit_of(kind: str) -> int:
    """How many admissions may pass."""
    return REQUEST_LIMIT if kind == "requests" else TOKEN_LIMIT // TOKENS


async def admitted(limits: LimitStore, name: str, prefix: str, asked: int) -> int:
    """How many pass when so many tasks ask."""
    numbers = iter(range(asked))

    async def one_after_another() -> int:
        passed = 0
        for number in numbers:
            answer = limits.admit(Admission(name, f"{prefix}-{number}", "m", TOKENS))
            decision = await answer if not hasattr(answer, "outcome") else answer
            passed += decision.outcome is Outcome.ADMITTED
        return passed

    return sum(await asyncio.gather(*(one_after_another() for _ in range(TASKS))))


async def in_memory(kind: str) -> Accuracy:
    """One process."""
    store = MemoryStore(time.time)
    await store.create(user("lgy", kind))
    asked = int(limit_of(kind) * ASKED_SHARE)
    return Accuracy("memory", kind, asked, await admitted(store, "lgy", "a", asked), limit_of(kind))


async def in_valkey(url: str, kind: str, *, batching: bool) -> Accuracy:
    """Processes that begin together; raises RuntimeError when one of them fails."""
    name = f"lgy-{kind}-{batching}-{time.time_ns()}"
    store = RedisStore.from_url(url, timeout_seconds=5)
    await store.create(user(name, kind))
    await store.close()
    each = int(limit_of(kind) * ASKED_SHARE) // PROCESSES
    argv = [sys.executable, "-m", "benchmarks.limits.accuracy", url, name, str(each), str(int(batching))]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*argv, str(number), stdin=pipe, stdout=pipe) for number in range(PROCESSES)
    ]
    try:
        passed = sum(await _begin_together(processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    label = "Valkey, batching" if batching else "Valkey, a call each"
    return Accuracy(label, kind, each * PROCESSES, passed, limit_of(kind))


async def _begin_together(processes: Sequence[asyncio.subprocess.Process]) -> list[int]:
    for process in processes:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"a process that asks ended with {await process.wait()}")
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    return [int(json.loads(answer)) for answer, _ in answers]


async def ask(url: str, name: str, asked: str, batching: str, number: str) -> None:
    """One of the processes."""
    store = RedisStore.from_url(url, timeout_seconds=5)
    limits: LimitStore = BatchingLimits(store, timeout_seconds=5) if batching == "1" else store
    await limits.ping()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(await admitted(limits, name, number, int(asked)))
    await limits.close()


if __name__ == "__main__":
    asyncio.run(ask(*sys.argv[1:]))
