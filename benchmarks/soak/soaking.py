"""One soak: load in steps, pods that come and go, a store that is killed, and a watch over it all.

When a client leaves while the plugin's reply is on its way to Envoy, the log entry has no charge id: such a reservation
is the one kind that nobody settles, and counts until it expires.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.load import Outcome, run
from benchmarks.soak.plan import loads
from benchmarks.soak.watching import Left, Sample, Watch, what_is_left

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.rig import Rig
    from benchmarks.soak.plan import Plan
    from benchmarks.variant import Limits

LOG_SECONDS = 1.5
"""Until Envoy's log has told of a step."""
DISCOVERY_SECONDS = 1.5
"""Until the plugin has read the endpoints file again."""


@dataclass(slots=True)
class Soaked:
    """Everything that was seen. Times are seconds since the epoch."""

    store: Limits
    began: float
    warm: float
    """When the warm-up ended."""
    outcomes: list[Outcome]
    samples: list[Sample]
    left: Left
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def completed(self) -> int:
        """Requests."""
        return sum(outcome.completed for outcome in self.outcomes)

    @property
    def aborted(self) -> int:
        """Requests whose client went away."""
        return sum(outcome.aborted for outcome in self.outcomes)

    @property
    def timeouts(self) -> int:
        """Requests."""
        return sum(outcome.timeouts for outcome in self.outcomes)

    @property
    def errors(self) -> dict[str, int]:
        """By kind."""
        counts: Counter[str] = Counter()
        for outcome in self.outcomes:
            counts.update(outcome.errors)
        return dict(counts)

    @property
    def left_unexplained(self) -> int:
        """Only requests that were aborted may have left a reservation to its expiry."""
        return max(self.left.left_to_expire - self.aborted, 0)

    @property
    def growth(self) -> float | None:
        """Of memory after the warm-up, as a share: the median of its last third over that of its first."""
        rss = [sample.rss_mb for sample in self.samples if sample.at >= self.warm]
        third = len(rss) // 3
        return statistics.median(rss[-third:]) / statistics.median(rss[:third]) - 1 if third else None


async def soak(rig: Rig, plan: Plan, done: Callable[[], None] = lambda: None) -> Soaked:
    """Sends everything, then counts what is left. `done` is called after each step."""
    watch = Watch(rig, plan.sample_seconds)
    outcomes: list[Outcome] = []
    events: list[tuple[float, str]] = []
    loop = asyncio.get_running_loop()
    began, seeds = time.time(), itertools.count(0, 2)
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(watch.run())]
        if plan.churn_seconds:
            background.append(group.create_task(churn(rig, plan.churn_seconds)))
        ends = loop.time() + plan.warm_up_seconds
        while loop.time() < ends:
            outcomes += await step(rig, plan.step_requests, next(seeds))
        warm = time.time()
        restarts = restarting_steps(plan, rig)
        for number in range(plan.steps):
            restart = group.create_task(restart_store(rig, plan, events)) if number in restarts else None
            outcomes += await step(rig, plan.requests // plan.steps, next(seeds))
            if restart is not None:
                await restart
            done()
        for task in background:
            task.cancel()
    rig.offer(rig.pod_ports)
    await asyncio.sleep(DISCOVERY_SECONDS)
    return Soaked(rig.variant.limits, began, warm, outcomes, watch.samples, await what_is_left(rig), events)


def restarting_steps(plan: Plan, rig: Rig) -> set[int]:
    """Evenly spread, none in the first or last step when there are enough."""
    if rig.variant.limits != "valkey":
        return set()
    return {round((number + 1) * plan.steps / (plan.restarts + 1)) - 1 for number in range(plan.restarts)}


async def step(rig: Rig, requests: int, seed: int) -> Sequence[Outcome]:
    """Some of the requests; ends when Envoy's log has told of them."""
    outcomes = await asyncio.gather(*(run(load) for load in loads(rig, requests, seed)))
    await asyncio.sleep(LOG_SECONDS)
    return outcomes


async def churn(rig: Rig, every_seconds: float) -> None:
    """Pods come and go: all of them, all but one, half of them."""
    ports = rig.pod_ports
    for offered in itertools.cycle((ports[1:], ports, ports[: len(ports) // 2], ports[1:], ports[2:], ports)):
        await asyncio.sleep(every_seconds)
        rig.offer(offered)


async def restart_store(rig: Rig, plan: Plan, events: list[tuple[float, str]]) -> None:
    """Amid a step."""
    await asyncio.sleep(0.5)
    events.append((time.time(), "killed"))
    rig.valkey.kill()
    await asyncio.sleep(plan.down_seconds)
    await asyncio.to_thread(rig.valkey.start)
    events.append((time.time(), "started"))
