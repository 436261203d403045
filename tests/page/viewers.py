"""`python -m tests.page.viewers`: what viewers of the live page, and a scrape a second, cost the plugin in CPU time.

Rounds of nobody and of everybody take turns over a chain without load, so that the machine's moods meet both.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

from benchmarks.procfs import cpu_seconds
from gateway_plugin.tools.chain.stack import Stack, StackOptions

VIEWERS = 50
ROUNDS = 4
ROUND_SECONDS = 12.0


async def main() -> None:
    """Prints the share of a core."""
    options = StackOptions({"llama-3-8b": 3, "qwen2-7b": 3})
    with tempfile.TemporaryDirectory() as directory:
        async with Stack(options, Path(directory)) as stack:
            await asyncio.sleep(3)
            alone, looked_at = [], []
            for _ in range(ROUNDS):
                alone.append(await _share(stack))
                looked_at.append(await _with_viewers(stack))
    cost = statistics.median(looked_at) - statistics.median(alone)
    sys.stdout.write(
        f"alone {_told(alone)}; {VIEWERS} viewers and a scrape a second {_told(looked_at)}: {cost:.1%} of a core\n"
    )


async def _with_viewers(stack: Stack) -> float:
    timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(_look(session, stack.ops_url)) for _ in range(VIEWERS)]
        tasks.append(asyncio.create_task(_scrape(session, stack.ops_url)))
        await asyncio.sleep(2)
        share = await _share(stack)
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not ended, f"{len(ended)} viewers were sent away"
    return share


async def _share(stack: Stack) -> float:
    before, began = cpu_seconds(stack.plugin.pid), time.monotonic()
    await asyncio.sleep(ROUND_SECONDS)
    return (cpu_seconds(stack.plugin.pid) - before) / (time.monotonic() - began)


async def _look(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(f"{url}/debug/live/events") as response:
        response.raise_for_status()
        async for _ in response.content.iter_any():
            pass


async def _scrape(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with session.get(f"{url}/metrics") as response:
            await response.read()
        await asyncio.sleep(1)


def _told(shares: list[float]) -> str:
    return f"{statistics.median(shares):.1%} ({min(shares):.1%}-{max(shares):.1%})"


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
