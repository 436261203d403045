"""Who asks what, when: generated traffic with one property each (recorded traffic: see `traces`).

Prompts have no text. They are made of blocks of 512 tokens, each with an id, and two prompts share what their ids share
from the beginning. A multi-turn prompt repeats the earlier ones, but the engine does not keep the answers' blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from routing.prefix.prefix_blocks import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_TOKENS = 512
SYSTEM_BLOCKS = 8  # 4,096 tokens
AGENT_KINDS = 4
# Beyond these a length is one of `works._WRONG`, whose two kinds of text can be told apart.
_HALF, _DOUBLE = 0.7, 1.4
_THREE_BYTES, _ESCAPED = KINDS.index("three bytes"), KINDS.index("escaped")
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
    adapter: str = ""
    """The LoRA adapter that is asked for instead of the model."""
    max_tokens: int | None = None
    """What the client allows the answer to have."""
    kept: tuple[int, ...] = ()
    """Keys of the blocks that the answer fills behind the prompt's; a next turn that repeats it finds them."""
    taken_for: float = 1.0
    """What the gateway takes the prompt's length for, over what it is: bytes are no tokens."""
    followed_by: tuple[Arrival, ...] = ()
    """Asked when the answer has come: their `at_seconds` count from then."""

    @property
    def text_kind(self) -> int:
        """What the gateway sees of the text: plain, of three bytes a character, or escaped (`prefix_blocks`)."""
        return _ESCAPED if self.taken_for > _DOUBLE else _THREE_BYTES if self.taken_for < _HALF else 0


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
    system = named(0, SYSTEM_BLOCKS)
    texts = [named(1 + document, document_blocks) for document in range(documents)]
    return [
        arrival(
            at, (*system, *(texts[rng.integers(documents)] if documents else ()), *named(next(fresh), tail_blocks)), 64
        )
        for at in _poisson(rng, requests, per_second)
    ]


def unshared(requests: int, per_second: float, seed: int = 0) -> list[Arrival]:
    """Prompts of 1 to 16 blocks and answers of 16 to 256 tokens; nobody repeats anything."""
    rng, fresh = np.random.default_rng(seed), count()
    return [
        arrival(at, named(next(fresh), int(rng.integers(1, 17))), int(rng.integers(16, 257)))
        for at in _poisson(rng, requests, per_second)
    ]


def chats(sessions: int, per_second: float, turns: int = 6, seed: int = 0) -> list[Arrival]:
    """Conversations that begin at random; each turn adds two blocks to the prompt, 5 to 15 s after the last."""
    rng, arrivals = np.random.default_rng(seed), list[Arrival]()
    for session, begin in enumerate(_poisson(rng, sessions, per_second)):
        at, user = begin, f"user-{session % 50}"
        for turn in range(1, turns + 1):
            arrivals.append(arrival(at, named(session, 2 * turn), 64, user=user, session=f"session-{session}"))
            at += float(rng.uniform(5.0, 15.0))
    return sorted(arrivals, key=lambda each: each.at_seconds)


def agents(runs: int, per_second: float, *, steps: int = 10, fan_out: int = 4, seed: int = 0) -> list[Arrival]:
    """Agents with tools: a step appends one block, the call and its short result, and asks again a second later.

    Four kinds of agents have instructions and tools of their own, 8 blocks. Halfway, a run asks `fan_out` helpers at
    once, who go on from its context for 3 steps each. Answers are short: they are calls.
    """
    rng, texts, arrivals = np.random.default_rng(seed), count(AGENT_KINDS), list[Arrival]()

    def go_on(run: int, text: tuple[int, ...], first: int, at: float) -> float:
        for end in range(first + 1, len(text) + 1):
            arrivals.append(arrival(at, text[:end], 24, user=f"user-{run % 20}", session=f"run-{run}"))
            at += float(rng.uniform(0.5, 2.0))
        return at

    for run, begin in enumerate(_poisson(rng, runs, per_second)):
        half = SYSTEM_BLOCKS + steps // 2
        context = (*named(run % AGENT_KINDS, SYSTEM_BLOCKS), *named(next(texts), steps))
        helpers = [(*context[:half], *named(next(texts), 3)) for _ in range(fan_out)]
        asked_at = go_on(run, context[:half], SYSTEM_BLOCKS, begin)
        go_on(run, context, half, max(go_on(run, helper, half, asked_at) for helper in helpers))
    return sorted(arrivals, key=lambda each: each.at_seconds)


def bursts(seconds: float, per_second: float, *, size: int = 60, seed: int = 0) -> list[Arrival]:
    """A steady flow in which nothing is shared, and every 20 s a batch job: many questions on one document at once."""
    rng, fresh = np.random.default_rng(seed), count()
    arrivals = [
        arrival(at, named(next(fresh), int(rng.integers(1, 9))), 64, user="steady")
        for at in _poisson(rng, int(seconds * per_second), per_second)
    ]
    for at in np.arange(10.0, seconds, 20.0).tolist():
        document = named(next(fresh), 4)
        arrivals += [arrival(at, (*document, *named(next(fresh), 1)), 64, user="batch") for _ in range(size)]
    return sorted(arrivals, key=lambda each: each.at_seconds)


def burst(requests: int, at_seconds: float = 0.0, blocks: int = 4, users: int = 1) -> list[Arrival]:
    """Equally long, different prompts in one instant, from users in turn."""
    return [arrival(at_seconds, named(i, blocks), 64, user=f"user-{i % users}") for i in range(requests)]


def flood_and_light(
    seconds: float, flood_per_second: float, light_per_second: float, *, light_users: int = 1, seed: int = 0
) -> list[Arrival]:
    """Users with equal requests: one sends more than its pods can take, the others now and then."""
    rng, fresh, arrivals = np.random.default_rng(seed), count(), list[Arrival]()
    light = ["light"] if light_users == 1 else [f"light-{number}" for number in range(light_users)]
    for user, per_second in (("flood", flood_per_second), *((name, light_per_second) for name in light)):
        times = _poisson(rng, int(seconds * per_second), per_second)
        arrivals += [arrival(at, named(next(fresh), 4), 64, user=user) for at in times]
    return sorted(arrivals, key=lambda each: each.at_seconds)


def named(text: int, blocks: int) -> tuple[int, ...]:
    """The blocks of a text; the same number is the same text, and a longer one continues it."""
    return tuple(text << 20 | index for index in range(blocks))


def _poisson(rng: np.random.Generator, requests: int, per_second: float) -> Iterator[float]:
    return iter(np.cumsum(rng.exponential(1.0 / per_second, requests)).tolist())
