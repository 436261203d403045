"""Recorded traffic, and a stand-in for where the record is missing.

Mooncake's traces (JSON lines) name the blocks of every prompt, so that what is shared is known. Azure's (CSV) tell
lengths only: nothing is shared.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.workloads import BLOCK_TOKENS, Arrival, chained, named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def recorded(path: Path, speed: float = 1.0, most: int | None = None) -> list[Arrival]:
    """A trace by its ending, .jsonl or .csv, `speed` times as fast; raises ValueError for what is neither."""
    loaders = {".jsonl": mooncake, ".csv": azure}
    if path.suffix not in loaders:
        raise ValueError(f"{path}: a trace ends in {' or '.join(loaders)}")
    arrivals = loaders[path.suffix](path)[:most]
    return [replace(each, at_seconds=each.at_seconds / speed) for each in arrivals]


def mooncake(path: Path, output_divisor: int = 1) -> list[Arrival]:
    """Any trace in Mooncake's JSONL format; answers can be shortened."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    return sorted((_mooncake_row(row, output_divisor) for row in rows), key=lambda each: each.at_seconds)


def azure(path: Path) -> list[Arrival]:
    """Any trace in the CSV format of Azure's LLM inference traces; prompts have no prefix in common."""
    with path.open(newline="") as file:
        arrivals = [_azure_row(row, text) for row, text in zip(csv.DictReader(file), count())]
    begin = min((each.at_seconds for each in arrivals), default=0.0)
    return sorted(
        (replace(each, at_seconds=each.at_seconds - begin) for each in arrivals), key=lambda each: each.at_seconds
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


def _mooncake_row(row: object, output_divisor: int) -> Arrival:
    match row:
        case {"timestamp": int(at), "input_length": int(prompt), "output_length": int(output), "hash_ids": list(ids)}:
            return Arrival(
                at_seconds=at / 1000.0,
                prompt_tokens=prompt,
                output_tokens=max(1, output // output_divisor),
                prefix=chained(ids[: prompt // BLOCK_TOKENS]),
            )
    raise ValueError(f"not a line of a Mooncake trace: {row}")


def _azure_row(row: Mapping[str, str], text: int) -> Arrival:
    try:
        prompt, output = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"not a line of an Azure trace: {dict(row)}") from error
    prompt = max(1, prompt)
    return Arrival(
        at_seconds=at,
        prompt_tokens=prompt,
        output_tokens=max(1, output),
        prefix=chained(named(text, prompt // BLOCK_TOKENS)),
    )
