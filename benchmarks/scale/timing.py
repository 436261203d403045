"""CPU time of calls: unlike the clock on the wall it does not count what the machine does for others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_SECONDS = 0.01
REPEATS = 5


def microseconds(call: Callable[[], object], share: float = 1.0) -> tuple[float, ...]:
    """Of one call: one mean for each repeat, which has as many calls as fill `share` of 10 ms."""
    calls = 1
    while (seconds := cpu_of(call, calls)) < LEAST_SECONDS * share:
        calls = max(calls * 2, int(calls * LEAST_SECONDS * share / max(seconds, 1e-6)))
    return tuple(round(cpu_of(call, calls) / calls * 1e6, 3) for _ in range(REPEATS))


def cpu_of(call: Callable[[], object], calls: int) -> float:
    """Seconds of this process for all of them."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began
