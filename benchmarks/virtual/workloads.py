"""Who asks what, when: a recorded trace, and generated traffic with one property each.

Prompts have no text. They are made of blocks of 512 tokens, each with an id, and two prompts share what their ids share
from the beginning. A multi-turn prompt repeats the earlier ones, but the engine does not keep the answers' blocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK_TOKENS = 512
SYSTEM_BLOCKS = 8  # 4,096 tokens
_MASK = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request. `prefix` has a key for each full block of the prompt; a key stands for all blocks up to its own."""

    at_seconds: float
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...]
    user: str = ""
    session: str = ""


def arrival(
    at_seconds: float, blocks: Iterable[int], output_tokens: int, *, user: str = "", session: str = ""
) -> Arrival:
    """A request whose prompt consists of full blocks."""
    prefix = chained(blocks)
    return Arrival(
        at_seconds=at_seconds,
        prompt_tokens=len(prefix) * BLOCK_TOKENS,
        output_tokens=output_tokens,
        prefix=prefix,
        user=user,
        session=session,
    )


def chained(blocks: Iterable[int]) -> tuple[int, ...]:
    """Keys of a prompt's blocks. Hashes of numbers are the same in every process."""
    keys: list[int] = []
    for block in blocks:
        keys.append(hash((keys[-1] if keys else 0, block)) & _MASK)
    return tuple(keys)


def mooncake(path: Path, output_divisor: int = 1) -> list[Arrival]:
    """Any trace in Mooncake's JSONL format; answers can be shortened, since decoding is what simulation spends on."""
    return [_recorded(json.loads(line), output_divisor) for line in path.read_text().splitlines() if line]


def shared_system_prompt(
    requests: int,
    per_second: float,
    *,
    documents: int = 64,
    document_blocks: int = 8,
    tail_blocks: int = 1,
    seed: int = 0,
) -> list[Arrival]:
    """All begin with one system prompt, go on with one of several documents, and end with a tail of their own."""
    rng, fresh = np.random.default_rng(seed), count(1 + documents)
    system = _named(0, SYSTEM_BLOCKS)
    texts = [_named(1 + document, document_blocks) for document in range(documents)]
    return [
        arrival(
            at, (*system, *(texts[rng.integers(documents)] if documents else ()), *_named(next(fresh), tail_blocks)), 64
        )
        for at in _poisson(rng, requests, per_second)
    ]


def unshared(requests: int, per_second: float, seed: int = 0) -> list[Arrival]:
    """Prompts of 1 to 16 blocks and answers of 16 to 256 tokens; nobody repeats anything."""
    rng, fresh = np.random.default_rng(seed), count()
    return [
        arrival(at, _named(next(fresh), int(rng.integers(1, 17))), int(rng.integers(16, 257)))
        for at in _poisson(rng, requests, per_second)
    ]


def chats(sessions: int, per_second: float, turns: int = 6, seed: int = 0) -> list[Arrival]:
    """Conversations that begin at random; each turn adds two blocks to the prompt, 5 to 15 s after the last."""
    rng, arrivals = np.random.default_rng(seed), list[Arrival]()
    for session, begin in enumerate(_poisson(rng, sessions, per_second)):
        at, user = begin, f"user-{session % 50}"
        for turn in range(1, turns + 1):
            arrivals.append(arrival(at, _named(session, 2 * turn), 64, user=user, session=f"session-{session}"))
            at += float(rng.uniform(5.0, 15.0))
    return sorted(arrivals, key=lambda each: each.at_seconds)


def burst(requests: int, at_seconds: float = 0.0, blocks: int = 4, users: int = 1) -> list[Arrival]:
    """Equally long, different prompts in one instant, from users in turn."""
    return [arrival(at_seconds, _named(i, blocks), 64, user=f"user-{i % users}") for i in range(requests)]


def flood_and_light(seconds: float, flood_per_second: float, light_per_second: float, seed: int = 0) -> list[Arrival]:
    """Two users with equal requests: one sends more than two pods can take, the other now and then."""
    rng, fresh, arrivals = np.random.default_rng(seed), count(), list[Arrival]()
    for user, per_second in (("flood", flood_per_second), ("light", light_per_second)):
        times = _poisson(rng, int(seconds * per_second), per_second)
        arrivals += [arrival(at, _named(next(fresh), 4), 64, user=user) for at in times]
    return sorted(arrivals, key=lambda each: each.at_seconds)


def _recorded(row: dict[str, object], output_divisor: int) -> Arrival:
    match row:
        case {"timestamp": int(at), "input_length": int(prompt), "output_length": int(output), "hash_ids": list(ids)}:
            full_blocks = prompt // BLOCK_TOKENS
            return Arrival(
                at_seconds=at / 1000.0,
                prompt_tokens=prompt,
                output_tokens=max(1, output // output_divisor),
                prefix=chained(ids[:full_blocks]),
            )
    raise ValueError(f"not a line of a Mooncake trace: {row}")


def _named(text: int, blocks: int) -> tuple[int, ...]:
    """The blocks of a text; the same number is the same text, and a longer one continues it."""
    return tuple(text << 20 | index for index in range(blocks))


def _poisson(rng: np.random.Generator, requests: int, per_second: float) -> Iterator[float]:
    return iter(np.cumsum(rng.exponential(1.0 / per_second, requests)).tolist())
