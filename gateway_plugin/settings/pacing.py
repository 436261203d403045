"""Housekeeping happens at common moments: an idle process is woken once for all of it, not once for each part.

A wake-up costs 50 to 150 us with cold caches, more than what most parts do when there is nothing to do.
"""

from __future__ import annotations

import asyncio

_SAME_MOMENT = 0.01
"""Of the period: who wakes so little before the moment has woken for it."""


def seconds_to_moment(now_seconds: float, every_seconds: float) -> float:
    """Until the next multiple of the period on the clock that `now_seconds` is of; more than 0."""
    left = every_seconds - now_seconds % every_seconds
    return left if left > every_seconds * _SAME_MOMENT else left + every_seconds


async def next_moment(every_seconds: float) -> None:
    """Sleeps until the next multiple of the period on the loop's clock; `asyncio.sleep` with company."""
    await asyncio.sleep(seconds_to_moment(asyncio.get_running_loop().time(), every_seconds))
