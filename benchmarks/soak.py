"""`python -m benchmarks.soak [--requests 100000] [--store memory|valkey]`: many requests, a tenth of them aborted.

JSON answers and short streams side by side; of the aborted requests half end amid their own body, half at any moment
after. Promised: no lease and no parallel slot stays taken, no reservation outlives its expiry, memory is stable. When a
client leaves while the plugin's reply is on its way to Envoy, the log entry has no charge id: such a reservation is the
one kind that nobody settles, and counts until it expires.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import redis.asyncio
from rich.console import Console

from benchmarks.held import none_left
from benchmarks.load import USERS, Load, Outcome, run
from benchmarks.procfs import raise_open_files, rss_bytes
from benchmarks.results import Line, Result, machine, today, write
from benchmarks.rig import Rig
from benchmarks.table import promise_table
from benchmarks.variant import Variant
from ratelimit.store import SETTLED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

ABORT_SHARE = 0.1
STREAM_SHARE = 0.25
CHUNKS = 12
CONCURRENCY = 24
WARM_UP_SECONDS = SETTLED_SECONDS + 30.0
"""Before memory is measured: settled charges are remembered for that long, so their number first grows."""
STEPS = 8
MAX_PARALLEL = 1000
WARM_UP_REQUESTS = 5000
SETTLE_SECONDS = 5.0
NO_EXPIRY = -1
"""What Redis answers instead of seconds."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was left when all was over."""

    store: str
    completed: int
    aborted: int
    errors: dict[str, int]
    timeouts: int
    leases: int
    in_flight: int
    slots: int
    left_to_expire: int
    """Reservations that nobody settled or gave back."""
    without_expiry: int
    routed: int
    settled: int
    log_entries_dropped: int
    rss_mb: list[float]
    """After the warm-up, and after each step."""

    @property
    def left_unexplained(self) -> int:
        """Only requests that were aborted may have left a reservation to its expiry."""
        return max(self.left_to_expire - self.aborted, 0)

    @property
    def growth(self) -> float:
        """Of memory after the warm-up, as a share: the median of its later half over that of the first."""
        half = len(self.rss_mb) // 2
        return statistics.median(self.rss_mb[-half:]) / statistics.median(self.rss_mb[:half]) - 1


def loads(rig: Rig, requests: int, seed: int) -> list[Load]:
    """What is sent at the same time."""
    streams = int(requests * STREAM_SHARE)
    common = Load(
        rig.gateway_port, requests - streams, CONCURRENCY, with_user=rig.with_user, abort_share=ABORT_SHARE, seed=seed
    )
    values = asdict(common) | {"requests": streams, "stream": True, "chunks": CHUNKS, "seed": seed + 1}
    return [common, Load(**values)]


async def soak(rig: Rig, requests: int, steps: int = STEPS, warm_up_seconds: float = WARM_UP_SECONDS) -> Soaked:
    """Sends everything, in steps, then counts what is left; what is sent to warm up comes on top."""
    assert rig.processor is not None
    outcomes: list[Outcome] = []
    loop = asyncio.get_running_loop()
    warm = loop.time() + warm_up_seconds
    seed = 0
    while loop.time() < warm:
        outcomes += await step(rig, WARM_UP_REQUESTS, seed)
        seed += 2
    rss = [rss_bytes(rig.processor.pid) / 1e6]
    for number in range(steps):
        outcomes += await step(rig, requests // steps, seed + 2 * number)
        rss.append(rss_bytes(rig.processor.pid) / 1e6)
    return await what_is_left(rig, outcomes, rss)


async def step(rig: Rig, requests: int, seed: int) -> Sequence[Outcome]:
    """Some of the requests; ends when Envoy's log has told of them."""
    outcomes = await asyncio.gather(*(run(load) for load in loads(rig, requests, seed)))
    await asyncio.sleep(1.5)
    return tuple(outcomes)


async def what_is_left(rig: Rig, outcomes: Sequence[Outcome], rss_mb: list[float]) -> Soaked:
    """Patient: settlements come in batches."""
    in_flight = await none_left(rig)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while (counts := await charges(rig))[0] != counts[1] and loop.time() < deadline:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.5)
    pods = await rig.operations("/debug/pods")
    assert isinstance(pods, list)
    users = [await rig.user(number) for number in range(USERS)]
    dropped = await rig.envoy_stats(r"grpc_access_log\.logs_dropped$")
    errors: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.errors.items():
            errors[name] = errors.get(name, 0) + count
    return Soaked(
        store=rig.variant.limits,
        completed=sum(outcome.completed for outcome in outcomes),
        aborted=sum(outcome.aborted for outcome in outcomes),
        errors=errors,
        timeouts=sum(outcome.timeouts for outcome in outcomes),
        leases=sum(pod["inflight_requests"] for pod in pods),
        in_flight=in_flight,
        slots=sum(user["parallel"]["used"] for user in users),
        left_to_expire=counts[0] - counts[1],
        without_expiry=await without_expiry(rig),
        routed=counts[0],
        settled=counts[1],
        log_entries_dropped=sum(dropped.values()),
        rss_mb=rss_mb,
    )


async def charges(rig: Rig) -> tuple[int, int]:
    """Requests that were admitted and sent on; charges that were settled."""
    return int(await rig.metric("gateway_request_total")), int(await rig.metric("gateway_settlements_total"))


async def without_expiry(rig: Rig) -> int:
    """The limiter's own keys that would stay for ever; the memory store has bounds instead of expiries."""
    if rig.variant.limits != "valkey":
        return 0
    async with redis.asyncio.Redis.from_url(rig.redis_url) as client:
        found = [key async for key in client.scan_iter("gateway:*", count=1000)]
        # The catalogue is meant to stay; it holds what is served, not what was asked.
        keys = [key for key in found if not key.startswith(b"gateway:{catalogue}:")]
        async with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.ttl(key)
            return sum(seconds == NO_EXPIRY for seconds in await pipe.execute())


def promises(soaked: Soaked) -> list[Line]:
    """What must hold."""
    store = soaked.store
    return [
        Line(f"{store}: requests that failed", sum(soaked.errors.values()) + soaked.timeouts, 0),
        Line(f"{store}: leases left on pods", soaked.leases, 0),
        Line(f"{store}: exchanges left in flight", soaked.in_flight, 0),
        Line(f"{store}: parallel slots left", soaked.slots, 0),
        Line(f"{store}: keys in Valkey that never expire", soaked.without_expiry, 0),
        Line(f"{store}: reservations left to expire that no abort explains", soaked.left_unexplained, 0),
        Line(f"{store}: growth of the plugin's memory", soaked.growth * 100, 5, "%"),
    ]


async def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--store", choices=["memory", "valkey", "both"], default="both")
    arguments = parser.parse_args()
    raise_open_files()
    stores: list[Literal["memory", "valkey"]] = ["memory", "valkey"]
    wanted = stores if arguments.store == "both" else [store for store in stores if store == arguments.store]
    results = []
    for store in wanted:
        with tempfile.TemporaryDirectory() as directory:
            async with Rig(Variant("soak", limits=store, max_parallel=MAX_PARALLEL), Path(directory)) as rig:
                results.append(await soak(rig, arguments.requests))
    lines = [line for result in results for line in promises(result)]
    console, about = Console(width=120), machine()
    console.print(
        f"{about['cpu']}, {about['cpus']} CPUs, Python {about['python']}; {arguments.requests} requests a store"
    )
    console.print(promise_table(lines))
    for result in results:
        console.print(f"{result.store}: {result.completed} completed, {result.aborted} aborted, MB: {result.rss_mb}")
        console.print(f"errors: {result.errors or 'none'}, timeouts: {result.timeouts}")
        console.print(f"reservations of aborted requests that wait for their expiry: {result.left_to_expire}")
    load, series = {"requests": arguments.requests}, {result.store: asdict(result) for result in results}
    write(Result(name="soak", machine=about, load=load, repeats=1, lines=lines, series=series), today())
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
