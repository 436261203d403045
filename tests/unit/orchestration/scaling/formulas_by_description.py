"""KPA and APA once more, written from their descriptions as plainly as can be: what the product's are compared with.

Everything is computed anew from the whole history at each tick; nothing is remembered but what the descriptions say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Tick:
    at: float
    total: float
    ready: int


def _average(history: list[Tick], seconds: float) -> float:
    now = history[-1].at
    inside = [tick.total for tick in history if now - tick.at < seconds]
    return sum(inside) / len(inside)


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))


def knative(history: list[Tick], target: float, *, stable: float, panic: float, threshold: float, up: float,
            down: float, delay: float) -> int:  # fmt: skip
    """The size after the last tick."""
    panicking, since, most = history[0].ready > 1, history[0].at, history[0].ready
    sizes: list[tuple[float, int]] = []
    for number in range(1, len(history) + 1):
        past, now = history[:number], history[number - 1]
        ready = max(1, now.ready)
        low, high = math.floor(ready / down), math.ceil(up * ready)
        raw_panic = _ceil(_average(past, panic) / target)
        calm, short = sorted((low, _ceil(_average(past, stable) / target), high))[1], sorted((low, raw_panic, high))[1]
        if raw_panic / ready >= threshold:
            panicking, since, most = True, now.at, most if panicking else 0
        elif panicking and now.at - since > stable:
            panicking, most = False, 0
        if panicking:
            most = max(most, calm, short)
        sizes.append((now.at, most if panicking else calm))
    if not delay:
        return sizes[-1][1]
    return max(size for at, size in sizes if history[-1].at - at < delay)


def aibrix_apa(history: list[Tick], replicas: int, target: float, *, window: float, over: float, under: float,
               up: float, down: float) -> int:  # fmt: skip
    ready = history[-1].ready
    ratio = _average(history, window) / ready / target
    if ratio > 1 + over + 1e-9:
        return max(replicas, min(_ceil(ready * ratio), math.ceil(up * ready)))
    if ratio < 1 - under - 1e-9:
        return min(replicas, max(_ceil(ready * ratio), math.floor(ready / down)))
    return replicas
