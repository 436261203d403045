"""Recorded traffic as arrivals, and a stand-in for where the record is missing.

Mooncake's traces name the blocks of every prompt, so that what is shared is known. Azure's tell lengths only: nothing
is shared (`gateway_plugin.tools.bench.traces` reads both).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.workloads import BLOCK_TOKENS, Arrival, chained, named
from gateway_plugin.tools.bench.traces import read_trace

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_plugin.tools.bench.asks import Ask


def recorded(path: Path, speed: float = 1.0, most: int | None = None) -> list[Arrival]:
    """A trace, `speed` times as fast; raises TraceError."""
    return [_arrival(ask, text, speed) for text, ask in enumerate(read_trace(path)[:most])]


def _arrival(ask: Ask, text: int, speed: float) -> Arrival:
    full_blocks = ask.prompt_tokens // BLOCK_TOKENS
    return Arrival(
        at_seconds=ask.at_seconds / speed,
        prompt_tokens=ask.prompt_tokens,
        output_tokens=ask.output_tokens,
        prefix=chained(ask.blocks[:full_blocks] or named(text, full_blocks)),
    )


def like_mooncake(requests: int, seed: int = 0) -> list[Arrival]:
    """What stands in for Mooncake's synthetic trace: as many a second, as long, and as much of it shared (64 %).

    Prompts of 0.5 to 80 thousand tokens, most of them short, lognormal; two of three go on from an earlier one.
    """
    rng, texts, arrivals = np.random.default_rng(seed), count(), list[Arrival]()
    at, known = 0.0, list[tuple[int, ...]]()
    for _ in range(requests):
        at += float(rng.exponential(1 / 3.9))
        blocks = int(np.clip(rng.lognormal(2.5, 1.3), 1, 160))
        context = known[int(rng.integers(len(known)))] if known and rng.random() < 0.67 else ()
        fresh = named(next(texts), max(1, blocks // 4) if context else blocks)
        context = (*context, *fresh)[:240]
        known = [*known[-200:], context]
        output_tokens = int(np.clip(rng.lognormal(4.3, 1.1), 1, 900))
        arrivals.append(
            Arrival(
                at_seconds=at,
                prompt_tokens=len(context) * BLOCK_TOKENS,
                output_tokens=output_tokens,
                prefix=chained(context),
            )
        )
    return arrivals
