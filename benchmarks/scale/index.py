"""The prefix index: what it costs to know which pod has seen which prompt.

Time: many prompts, each with a shared first quarter (a system prompt that all pods hold) and text of its own. Memory:
the resident size of a process of its own against the blocks held, every block on one pod only (the dearest case), up to
the bound, and half as many again that push out the oldest. Run as a program it measures memory, and prints JSON.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from functools import partial
from itertools import accumulate, repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from routing.prefix.prefix_blocks import PrefixKeys, prefix_keys, prefix_seed
from routing.prefix.prefix_index import MAX_BLOCKS, PrefixIndex

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

KIB = 1024
PODS = 100
PROMPTS = 100
SIZES_KIB = (2, 32, 512)
STEPS = ("hash", "match", "book", "confirm")
CHAIN_BLOCKS = 85
MEMORY_PODS = 1100
FILLED_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)
"""Of the bound; beyond 1, what is inserted pushes out what is there."""
MEMORY_TIMEOUT_SECONDS = 120


class Filled(NamedTuple):
    """The index after some of the insertions."""

    inserted: int
    blocks: int
    megabytes: float
    insert_us_per_block: float
    """CPU, of the insertions since the step before."""
    slowest_ms: float
    """Of one chain of 85 blocks, on the wall's clock."""


def measured_prompts(size_bytes: int, prompts: int = PROMPTS) -> list[tuple[float, ...]]:
    """CPU seconds of every step for every prompt."""
    source = random.Random(0)
    index = PrefixIndex(time.monotonic)
    seed, rows = prefix_seed("m"), np.arange(PODS)
    shared = source.randbytes(size_bytes // 4)
    for row in range(PODS):
        index.insert(row, prefix_keys(seed, shared + source.randbytes(size_bytes - len(shared))))
    measured: list[tuple[float, ...]] = []
    for number in range(prompts):
        prompt = shared + source.randbytes(size_bytes - len(shared))
        hashing, keys = timed(partial(prefix_keys, seed, prompt))
        matching, _ = timed(partial(index.matched_blocks, keys.hashes, rows))
        booking, booked = timed(partial(index.book, number % PODS, keys))
        confirming, _ = timed(partial(index.confirm, booked))
        measured.append((hashing, matching, booking, confirming))
    return measured


def fill(share: float) -> list[Filled]:
    """Fills an index to its bound and beyond; `share` of the usual numbers."""
    source, index = random.Random(0), PrefixIndex(time.monotonic)
    empty, inserted, filled = resident_bytes(), 0, []
    for part in FILLED_SHARES:
        chains = int((part * share * MAX_BLOCKS - inserted) // CHAIN_BLOCKS)
        cpu = slowest = 0.0
        for _ in range(chains):
            keys = random_chain(source)
            began = time.perf_counter()
            seconds, _ = timed(partial(index.insert, source.randrange(MEMORY_PODS), keys))
            slowest = max(slowest, time.perf_counter() - began)
            cpu += seconds
        inserted += chains * CHAIN_BLOCKS
        megabytes = (resident_bytes() - empty) / 1e6
        per_block_us = cpu / max(chains * CHAIN_BLOCKS, 1) * 1e6
        filled.append(
            Filled(inserted, index.blocks, round(megabytes, 1), round(per_block_us, 3), round(slowest * 1e3, 2))
        )
    return filled


def filled_elsewhere(share: float) -> list[Filled]:
    """The same in a process of its own, whose memory nobody else uses."""
    argv = [sys.executable, "-m", "benchmarks.scale.index", str(share)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=MEMORY_TIMEOUT_SECONDS)
    return [Filled(*row) for row in json.loads(done.stdout)]


def random_chain(source: random.Random) -> PrefixKeys:
    """A prompt that nobody has seen."""
    hashes = tuple(source.getrandbits(60) for _ in range(CHAIN_BLOCKS))
    return PrefixKeys(hashes, tuple(accumulate(repeat(64.0, CHAIN_BLOCKS))))


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds, and what came out."""
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def resident_bytes() -> int:
    """Of this process; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4 * KIB


if __name__ == "__main__":
    print(json.dumps(fill(float(sys.argv[1]))))
