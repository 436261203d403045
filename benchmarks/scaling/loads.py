"""Loads that change over an hour, as arrivals: the same requests for every autoscaler, drawn anew for every seed.

diurnal   a day in an hour: 0.4 to 5 requests/s and back, twice
bursts    1 request/s, and five times that for two to four minutes, every eight to thirteen
step      1 request/s, then 4 from a quarter of the hour to three quarters
trace     Azure's conversations of 2023 where the file is there, at the mean rate of the others; else a stand-in
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np

from gateway_plugin.tools.bench.traces import read_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR_SECONDS = 3600.0
_PROMPT_TOKENS, _OUTPUT_TOKENS = 700.0, 250.0
"""Medians; both are lognormal, as those of recorded conversations."""
_MOST_TOKENS = 4000
_TRACE_RATE = 2.0
"""Requests a second that a recorded trace is brought to by thinning."""


@dataclass(frozen=True, slots=True)
class Ask:
    at_seconds: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Load:
    name: str
    asks: Callable[[int], list[Ask]]
    """By seed."""


def loads(trace: Path | None) -> tuple[Load, ...]:
    recorded = Load("trace", lambda seed: _recorded(trace, seed) if trace else _drawn(_wandering(seed), seed))
    return (
        Load("diurnal", lambda seed: _drawn(_diurnal, seed)),
        Load("bursts", lambda seed: _drawn(_bursts(seed), seed)),
        Load("step", lambda seed: _drawn(_step, seed)),
        recorded,
    )


def _diurnal(at: float) -> float:
    return 2.7 - 2.3 * cos(4 * pi * at / HOUR_SECONDS)


def _step(at: float) -> float:
    return 4.0 if HOUR_SECONDS / 4 <= at < 3 * HOUR_SECONDS / 4 else 1.0


def _bursts(seed: int) -> Callable[[float], float]:
    rng, at, bursts = np.random.default_rng([seed, 1]), 0.0, list[tuple[float, float]]()
    while at < HOUR_SECONDS:
        at += float(rng.uniform(480, 780))
        end = at + float(rng.uniform(120, 240))
        bursts.append((at, end))
        at = end
    return lambda now: 5.0 if any(begin <= now < end for begin, end in bursts) else 1.0


def _wandering(seed: int) -> Callable[[float], float]:
    """What stands in for a recorded trace: a rate that wanders about 2 requests/s, by a fifth in a minute."""
    steps = np.random.default_rng([seed, 2]).normal(0.0, 0.2, 62)
    levels, level = [], 0.0
    for step in steps:
        level = 0.9 * level + float(step)
        levels.append(_TRACE_RATE * float(np.exp(level)))
    return lambda now: levels[int(now // 60)]


def _drawn(rate: Callable[[float], float], seed: int) -> list[Ask]:
    """Poisson arrivals of a changing rate, by thinning those of the highest."""
    rng = np.random.default_rng(seed)
    highest = max(rate(float(at)) for at in range(0, int(HOUR_SECONDS), 5)) * 1.01
    asks, at = [], 0.0
    while (at := at + float(rng.exponential(1 / highest))) < HOUR_SECONDS:
        if rng.random() < rate(at) / highest:
            asks.append(Ask(at, _tokens(rng, _PROMPT_TOKENS), _tokens(rng, _OUTPUT_TOKENS)))
    return asks


def _tokens(rng: np.random.Generator, median: float) -> int:
    return int(np.clip(rng.lognormal(np.log(median), 0.7), 8, _MOST_TOKENS))


def _recorded(trace: Path, seed: int) -> list[Ask]:
    """An hour of it, thinned by lot to the rate of the others; so seeds differ in who is left."""
    rng = np.random.default_rng(seed)
    asks = [ask for ask in read_trace(trace) if ask.at_seconds < HOUR_SECONDS]
    share = min(1.0, _TRACE_RATE * HOUR_SECONDS / len(asks))
    return [
        Ask(ask.at_seconds, min(max(ask.prompt_tokens, 8), _MOST_TOKENS), min(max(ask.output_tokens, 8), _MOST_TOKENS))
        for ask in asks
        if rng.random() < share
    ]
