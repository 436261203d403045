"""What becomes of admissions while Valkey is frozen (it keeps its connections) and killed, by `store_down`.

For every mode a limiter of its own, built as in the service, under the same steady load: three of four requests are of
users whose limits are far away, the fourth is of one who has spent theirs. All modes see the same server.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.limits.asking import TOKENS, USERS, admission, endless_user
from ratelimit import Admission, Outcome, RedisStore, StoreUnavailable, UserRecord
from ratelimit.outage.breaker import BreakerState
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.resilience import ResilientLimits, StoreDown
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.users.known_users import KnownUsers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.tools.chain.valkey import Valkey

RATE_PER_SECOND = 150
"""For each mode."""
STEP_SECONDS = 0.1
FROZEN, THAWED, KILLED, STARTED, END = 1.5, 3.5, 5.5, 7.5, 9.5
"""When what happens, in seconds."""
SPENT_LIMIT = 30
SPENT_USER = "spent"


@dataclass(slots=True)
class Step:
    """A tenth of a second."""

    admitted: int = 0
    refused: int = 0
    unavailable: int = 0
    """Neither admitted nor refused: 503."""
    longest_ms: float = 0.0


@dataclass(slots=True)
class Timeline:
    """One mode's."""

    mode: str
    steps: list[Step] = field(default_factory=list)
    recovered_seconds: list[float] = field(default_factory=list)
    """From the server's return to the limiter's asking it again, after each outage."""
    failures: dict[str, int] = field(default_factory=dict)
    """Exceptions that no caller expects."""


class Mode:
    """A limiter under load."""

    def __init__(self, url: str, policy: StoreDown, steps: int) -> None:
        self.timeline = Timeline(policy.value, [Step() for _ in range(steps)])
        store = RedisStore.from_url(url)
        known, rng = KnownUsers(time.monotonic), random.Random(0)
        guard = StoreGuard(store.ping, time.monotonic, rng)
        local = LocalLimits(time.monotonic, known, Part)
        self.limits = ResilientLimits(BatchingLimits(store), guard, known, local, time.monotonic, policy)
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(random.randrange(2**60) << 32)

    async def run(self, began: float) -> None:
        """Asks at fixed times, whatever became of the requests before."""
        loop = asyncio.get_running_loop()
        count = int(len(self.timeline.steps) * STEP_SECONDS * RATE_PER_SECOND)
        for number in range(count):
            due = number / RATE_PER_SECOND
            await asyncio.sleep(max(0.0, began + due - loop.time()))
            task = asyncio.create_task(self._ask(number, self.timeline.steps[int(due / STEP_SECONDS)]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    async def closed_again(self, since: float) -> None:
        """Notes when the store is asked again."""
        loop = asyncio.get_running_loop()
        while self.limits.state is not BreakerState.CLOSED:  # noqa: ASYNC110 - what an observer would do
            await asyncio.sleep(0.005)
        self.timeline.recovered_seconds.append(loop.time() - since)

    async def _ask(self, number: int, step: Step) -> None:
        wanted = admission(next(self._numbers))
        if number % 4 == 3:
            wanted = Admission(f"{SPENT_USER}-{self.timeline.mode}", wanted.charge_id, wanted.model, TOKENS)
        started = time.perf_counter()
        try:
            decision = await self.limits.admit(wanted)
        except StoreUnavailable:
            step.unavailable += 1
        except Exception as error:  # noqa: BLE001 - counted, and a promise that there is none
            failures = self.timeline.failures
            failures[type(error).__name__] = failures.get(type(error).__name__, 0) + 1
        else:
            if decision.outcome is Outcome.ADMITTED:
                step.admitted += 1
            else:
                step.refused += 1
        step.longest_ms = max(step.longest_ms, (time.perf_counter() - started) * 1e3)


async def watch(valkey: Valkey, share: float) -> list[Timeline]:
    """All modes through both outages; `share` of the usual time."""
    setting_up = RedisStore.from_url(valkey.url, timeout_seconds=5)
    for number in range(USERS):
        await setting_up.create(endless_user(number))
    for policy in StoreDown:
        await setting_up.create(UserRecord(f"{SPENT_USER}-{policy.value}", rpm=SPENT_LIMIT, tpm=10**12))
    await setting_up.close()
    modes = [Mode(valkey.url, policy, round(END * share / STEP_SECONDS)) for policy in StoreDown]
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.1
    async with asyncio.TaskGroup() as group:
        for mode in modes:
            group.create_task(mode.run(began))
        group.create_task(break_and_mend(valkey, modes, began, share))
    for mode in modes:
        await mode.limits.close()
    return [mode.timeline for mode in modes]


async def break_and_mend(valkey: Valkey, modes: Sequence[Mode], began: float, share: float) -> None:
    """What happens to the server."""
    loop = asyncio.get_running_loop()
    plan = (
        (FROZEN, THAWED, valkey.freeze, valkey.thaw),
        (KILLED, STARTED, valkey.kill, valkey.start),
    )
    for breaks_at, mends_at, breaks, mends in plan:
        await asyncio.sleep(began + breaks_at * share - loop.time())
        breaks()
        await asyncio.sleep(began + mends_at * share - loop.time())
        await asyncio.to_thread(mends)
        back = loop.time()
        await asyncio.gather(*(mode.closed_again(back) for mode in modes))
