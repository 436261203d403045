"""What the plugin holds while it works, sampled, and what is left when all is over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import redis.asyncio

from benchmarks.held import none_left
from benchmarks.load import USERS
from benchmarks.procfs import rss_bytes

if TYPE_CHECKING:
    from benchmarks.rig import Rig

SETTLE_SECONDS = 3.0
"""Without a further settlement: they come in batches, and those of an outage once it is known to be over."""
NO_EXPIRY = -1
"""What Redis answers instead of seconds."""
ROUTED, SETTLED, IN_FLIGHT = "gateway_request_total", "gateway_settlements_total", "gateway_in_flight_requests"


class Sample(NamedTuple):
    """At one moment."""

    at: float
    """Seconds since the epoch."""
    rss_mb: float
    in_flight: int
    """Exchanges that are open."""
    leases: int
    """On pods that are offered."""
    unsettled: int
    """Requests that were sent on, less charges that were settled: in flight, in Envoy's log, or aborted."""


@dataclass(frozen=True, slots=True)
class Left:
    """When all was over."""

    leases: int
    in_flight: int
    slots: int
    left_to_expire: int
    """Reservations that nobody settled or gave back."""
    without_expiry: int
    routed: int
    settled: int
    log_entries_dropped: int


@dataclass(slots=True)
class Watch:
    """Samples until cancelled."""

    rig: Rig
    every_seconds: float
    samples: list[Sample] = field(default_factory=list)
    missed: int = 0
    """Times that the plugin did not tell."""

    async def run(self) -> None:
        """One sample after another."""
        while True:
            try:
                async with asyncio.timeout(5):
                    self.samples.append(await sample(self.rig))
            except (OSError, TimeoutError):
                self.missed += 1
            await asyncio.sleep(self.every_seconds)


async def sample(rig: Rig) -> Sample:
    """Now."""
    assert rig.processor is not None
    routed, settled, in_flight = await rig.metrics(ROUTED, SETTLED, IN_FLIGHT)
    rss_mb = rss_bytes(rig.processor.pid) / 1e6
    return Sample(time.time(), rss_mb, int(in_flight), await leases(rig), int(routed - settled))


async def leases(rig: Rig) -> int:
    """On all pods that are offered."""
    pods = await rig.operations("/debug/pods")
    assert isinstance(pods, list)
    return sum(int(pod["inflight_requests"]) for pod in pods)


async def what_is_left(rig: Rig) -> Left:
    """Patient."""
    in_flight = await none_left(rig)
    routed, settled = await until_settled(rig)
    users = [await rig.user(number) for number in range(USERS)]
    dropped = await rig.envoy_stats(r"grpc_access_log\.logs_dropped$")
    return Left(
        leases=await leases(rig),
        in_flight=in_flight,
        slots=sum(user["parallel"]["used"] for user in users),
        left_to_expire=routed - settled,
        without_expiry=await without_expiry(rig),
        routed=routed,
        settled=settled,
        log_entries_dropped=sum(dropped.values()),
    )


async def until_settled(rig: Rig) -> tuple[int, int]:
    """Requests that were sent on, and charges that were settled, once these have stopped growing."""
    loop = asyncio.get_running_loop()
    counts, since = (0, 0), loop.time()
    while loop.time() < since + SETTLE_SECONDS:
        routed, settled = (int(count) for count in await rig.metrics(ROUTED, SETTLED))
        if routed == settled:
            return routed, settled
        if (routed, settled) != counts:
            counts, since = (routed, settled), loop.time()
        await asyncio.sleep(0.2)
    return counts


async def without_expiry(rig: Rig) -> int:
    """The limiter's own keys that would stay for ever; the memory store has bounds instead of expiries."""
    if rig.variant.limits != "valkey":
        return 0
    async with redis.asyncio.Redis.from_url(rig.valkey.url) as client:
        found = [key async for key in client.scan_iter("gateway:*", count=1000)]
        # The catalogue is meant to stay; it holds what is served, not what was asked.
        keys = [key for key in found if not key.startswith(b"gateway:{catalogue}:")]
        async with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.ttl(key)
            return sum(seconds == NO_EXPIRY for seconds in await pipe.execute())
