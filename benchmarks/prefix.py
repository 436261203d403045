"""`python -m benchmarks.prefix`: what it costs to know which pod has seen which prompt.

Time: the median of many prompts, each with a shared first quarter (a system prompt that all pods hold) and text of its
own. Memory: the process's resident size for an index at its bound, every block on one pod only (the dearest case), and
again after twice as many blocks came and went.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from functools import partial
from itertools import accumulate, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from routing.prefix_index import MAX_BLOCKS, PrefixIndex
from routing.prefix_keys import PrefixKeys, prefix_keys, prefix_seed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

KIB = 1024
PODS = 100
PROMPTS = 300
CHAIN_BLOCKS = 85
MEMORY_PODS = 1100


def main() -> None:
    """Prints two tables: microseconds per prompt, and megabytes."""
    console = Console()
    console.print(
        f"Python {platform.python_version()}, {platform.machine()}, {PODS} pods, {PROMPTS} prompts of each size"
    )
    memory = memory_table()
    times = Table("prompt", "hash us", "match us", "book us", "hash + match + book us", "confirm us", show_edge=False)
    for kib in (2, 32, 512):
        columns = zip(*(measured_prompts(kib * KIB)), strict=True)
        times.add_row(f"{kib} KiB", *(f"{statistics.median(column) * 1e6:.1f}" for column in columns))
    console.print(times)
    console.print(memory)


def measured_prompts(size_bytes: int) -> list[tuple[float, ...]]:
    """Seconds of every step for every prompt."""
    source = random.Random(0)
    index = PrefixIndex(time.monotonic)
    seed, rows = prefix_seed("m"), np.arange(PODS)
    shared = source.randbytes(size_bytes // 4)
    for row in range(PODS):
        index.insert(row, prefix_keys(seed, shared + source.randbytes(size_bytes - len(shared))))
    measured: list[tuple[float, ...]] = []
    for number in range(PROMPTS):
        prompt = shared + source.randbytes(size_bytes - len(shared))
        hashing, keys = timed(partial(prefix_keys, seed, prompt))
        matching, _ = timed(partial(index.matched_blocks, keys.hashes, rows))
        booking, booked = timed(partial(index.book, number % PODS, keys))
        confirming, _ = timed(partial(index.confirm, booked))
        measured.append((hashing, matching, booking, hashing + matching + booking, confirming))
    return measured


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came out."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def memory_table() -> Table:
    """Fills an index to its bound, and goes on."""
    table = Table("blocks held", "blocks inserted", "MB", "bytes per block", "slowest insert ms", show_edge=False)
    source = random.Random(0)
    index = PrefixIndex(time.monotonic)
    empty = resident_bytes()
    for inserted in range(MAX_BLOCKS, 4 * MAX_BLOCKS, MAX_BLOCKS):
        slowest = max(insert_random(index, source) for _ in range(MAX_BLOCKS // CHAIN_BLOCKS))
        used = resident_bytes() - empty
        cells = (f"{used / 1e6:.0f}", f"{used / index.blocks:.0f}", f"{slowest * 1e3:.1f}")
        table.add_row(f"{index.blocks:,}", f"{inserted:,}", *cells)
    return table


def insert_random(index: PrefixIndex, source: random.Random) -> float:
    """Inserts a chain that nobody has seen; seconds."""
    hashes = tuple(source.getrandbits(60) for _ in range(CHAIN_BLOCKS))
    keys = PrefixKeys(hashes, tuple(accumulate(repeat(64.0, CHAIN_BLOCKS))))
    return timed(partial(index.insert, source.randrange(MEMORY_PODS), keys))[0]


def resident_bytes() -> int:
    """Of this process; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4 * KIB


if __name__ == "__main__":
    main()
