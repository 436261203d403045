"""Users and admissions of all limit benchmarks, and callers that ask without pause."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ratelimit import Admission, Decision, Outcome, UserRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

USERS = 10
TOKENS = 512
"""Of each admission."""
ENDLESS_REQUESTS, ENDLESS_TOKENS = 10**9, 10**12
"""Of users whose limits are never reached."""


class Rate(NamedTuple):
    """Of many admissions: CPU is that of the process which asks."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def endless_user(number: int) -> UserRecord:
    """One whose limits are never reached."""
    return UserRecord(f"user-{number}", rpm=ENDLESS_REQUESTS, tpm=ENDLESS_TOKENS)


def admission(number: int) -> Admission:
    """As the service asks for a chat request."""
    return Admission(f"user-{number % USERS}", f"{number:032x}", "llama-3.1-8b", TOKENS)


async def rate_of(admit: Callable[[Admission], Awaitable[Decision]], callers: int, seconds: float) -> Rate:
    """All callers at once, each one admission after another."""
    began, cpu = time.perf_counter(), time.process_time()
    asked = (ask(admit, began + seconds, caller + 1) for caller in range(callers))
    times = [one for caller in await asyncio.gather(*asked) for one in caller]
    return rate(times, time.perf_counter() - began, time.process_time() - cpu)


async def ask(admit: Callable[[Admission], Awaitable[Decision]], until: float, caller: int) -> list[float]:
    """One caller's latencies, in seconds."""
    times, number = [], caller << 32 | time.monotonic_ns() % 2**20 << 64
    while (started := time.perf_counter()) < until:
        number += 1
        decision = await admit(admission(number))
        assert decision.outcome is Outcome.ADMITTED
        times.append(time.perf_counter() - started)
    return times


def rate(times_seconds: Sequence[float], wall_seconds: float, cpu_seconds: float) -> Rate:
    """From what was measured."""
    count = len(times_seconds)
    p50, p99 = np.quantile(times_seconds, (0.5, 0.99)) * 1e3
    return Rate(count / wall_seconds, float(p50), float(p99), cpu_seconds / count * 1e6)
