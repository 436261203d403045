"""The sliding-window counter: a smooth minute from two numbers.

Time is cut into fixed windows of 60 s, aligned to the clock. What was spent in the last 60 s is estimated from the
previous window's count, weighted by the part of it that the last 60 s still cover, plus the current window's count:

    used = previous * (1 - elapsed / 60) + current        elapsed: seconds since the current window began

Example: previous 80, current 30, 15 s into the window: used = 80 * 0.75 + 30 = 90. Under a limit of 100 a cost of 10
fits and a cost of 20 does not: it needs 80 * (1 - elapsed / 60) <= 50, so elapsed 22.5, so a wait of 7.5 s.

Degradation: the estimate assumes that the previous window was spent evenly. It never lets a full second quota through
at a window's edge, as a plain fixed window does.
"""

from __future__ import annotations

from typing import NamedTuple

WINDOW_SECONDS = 60
MAX_RETRY_SECONDS = 120.0


class Counter(NamedTuple):
    """What was spent in the previous and in the current window."""

    previous: int
    current: int


def window_at(now_seconds: float) -> tuple[int, float]:
    """The current window's number, and the seconds since it began."""
    window = int(now_seconds // WINDOW_SECONDS)
    return window, now_seconds - window * WINDOW_SECONDS


def used(counter: Counter, elapsed_seconds: float) -> float:
    return counter.previous * (1 - elapsed_seconds / WINDOW_SECONDS) + counter.current


def seconds_until_fits(counter: Counter, elapsed_seconds: float, cost: int, limit: int) -> float:
    """How long until `used + cost <= limit` when nothing else is spent; 120 s when `cost` can never fit.

    `used` only falls while nobody spends. In this window the previous count drains; in the next one the current count
    does, having become the previous one, so that 120 s empty both.
    """
    room = limit - cost
    if room < 0:
        return MAX_RETRY_SECONDS
    if used(counter, elapsed_seconds) + cost <= limit:
        return 0.0
    if counter.current <= room:
        drained = WINDOW_SECONDS * (1 - (room - counter.current) / counter.previous)
        return max(0.0, drained - elapsed_seconds)
    drained = WINDOW_SECONDS * (1 - room / counter.current)
    return WINDOW_SECONDS - elapsed_seconds + drained
