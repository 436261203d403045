"""`python -m tests.chaos [PART OF A NAME...]`: kills, freezes and cuts off each part under load; what did clients see?

Two plugins, three pods that die alone, Valkey behind a proxy, one Envoy; 40 requests a second of a user without limits,
and one who asks five times as often as it may. Each accident has a chain of its own. The exit code is 1 when requests
fail that should not, a limit is exceeded by more than docs/reliability.md says, or recovery takes too long.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.stack import Stack, StackOptions
from tests.chaos.accidents import ACCIDENTS, AWAY_SECONDS, Accident, World
from tests.chaos.proxy import Proxy
from tests.chaos.traffic import METER_RPM, Traffic, most_in_a_minute

_QUIET_SECONDS = 3.0
_AFTER_SECONDS = 8.0
_ENVIRONMENT = {"GATEWAY_LIMITER_TIMEOUT_SECONDS": "0.3", "GATEWAY_REDIS_TIMEOUT_SECONDS": "0.5"}


@dataclass(frozen=True)
class Seen:
    """What one accident was to clients."""

    accident: Accident
    requests: int
    failed: str
    """Of requests that were sent after it had begun."""
    unexpected: int
    under_way: str
    """Of those that were sent before, and not answered."""
    recovery_seconds: float
    metered: int

    def faults(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if self.unexpected:
            found.append(f"{self.unexpected} requests failed that should not")
        if self.recovery_seconds > self.accident.recovery_seconds:
            found.append(f"recovered after {self.recovery_seconds:.1f} s")
        if self.metered > METER_RPM:
            found.append(f"{self.metered} requests in a minute of {METER_RPM}")
        return found

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        verdict = "; ".join(self.faults()) or "holds"
        recovery = f"{self.recovery_seconds:.1f}"
        failed = self.failed + (f" ({self.accident.fails})" if self.failed and self.accident.fails else "")
        return (self.accident.name, str(self.requests), self.under_way, failed, recovery, str(self.metered), verdict)


async def _happens(accident: Accident) -> Seen:
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        environment = {**_ENVIRONMENT, "GATEWAY_REDIS_URL": f"redis://127.0.0.1:{port}"}
        options = StackOptions({"m": 3}, speed=20, separate_pods=True, replicas=2, plugin_environment=environment)
        stack = Stack(options, Path(directory))
        async with Proxy(port, stack.ports.redis) as store, stack:
            await _make_users(stack)
            traffic = Traffic(stack.gateway_url)
            await traffic.start()
            await asyncio.sleep(_QUIET_SECONDS)
            world = World(stack, store)
            began = time.monotonic()
            await accident.begin(world)
            if not accident.graceful:
                began = time.monotonic()
            await asyncio.sleep(max(0.0, began + AWAY_SECONDS - time.monotonic()))
            await accident.end(world)
            ended = time.monotonic()
            await asyncio.sleep(_AFTER_SECONDS)
            await traffic.stop()
    return _seen(accident, traffic, began, ended)


async def _make_users(stack: Stack) -> None:
    async with aiohttp.ClientSession(stack.api_url) as session:
        for name, rpm in (("free", 1_000_000), ("meter", METER_RPM)):
            async with session.post("/CreateUser", json={"name": name, "rpm": rpm, "tpm": 1_000_000_000}) as answer:
                assert answer.status == 200, await answer.text()


def _seen(accident: Accident, traffic: Traffic, began: float, ended: float) -> Seen:
    bad = [one for one in traffic.sent if not one.is_well]
    before = [one for one in bad if one.at_seconds < began]
    since = [one for one in bad if one.at_seconds >= began]
    last = max((one.until_seconds for one in since), default=ended)
    unexpected = 0 if accident.fails else len(since) + accident.graceful * len(before)
    late = [one for one in since if one.at_seconds > ended + accident.recovery_seconds]
    said = traffic.said(began)
    told = ", ".join(f"{count} x {what}" for what, count in said.most_common() if what != "200")
    under_way = ", ".join(f"{one.said}" for one in before[:4]) or "0"
    return Seen(
        accident,
        len(traffic.sent),
        told,
        unexpected or len(late),
        under_way if not before else f"{len(before)}: {under_way}",
        max(0.0, last - ended),
        most_in_a_minute(traffic.metered),
    )


async def _all(accidents: list[Accident]) -> list[Seen]:
    found = []
    for accident in accidents:
        found.append(await _happens(accident))
        print(" | ".join(found[-1].cells()), flush=True)  # noqa: T201 - for whoever waits
    return found


def main() -> int:
    """Prints a row as it comes, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only accidents whose names have one of these in them")
    wanted = parser.parse_args().names
    chosen = [one for one in ACCIDENTS if not wanted or any(part in one.name for part in wanted)]
    found = asyncio.run(_all(chosen))
    table = Table("accident", "requests", "under way, failed", "new, failed", "recovery s", "metered/min", "verdict")
    for seen in found:
        table.add_row(*seen.cells())
    Console(width=170).print(table)
    bad = [seen for seen in found if seen.faults()]
    print(f"{len(found) - len(bad)} passed, {len(bad)} failed")  # noqa: T201
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
