"""Who asks what, when, as many a second as wanted: generators of the ring's workloads (others: see `workloads`).

Lengths follow what is published of real traffic: of Azure's conversations the median and 99th percentile of prompts
and the mean of answers, of Mooncake's the share that goes on from an earlier prompt (`docs/benchmarking.md`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count, cycle
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.workloads import BLOCK_TOKENS, Arrival, chained, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LONGEST_ANSWER = 8000
# Of the logarithm of bytes a token, among texts of one kind: prose and code differ by a fifth.
_KIND_SPREAD = 0.1
_SESSION_SECONDS = 210.0


def ask(
    at_seconds: float,
    blocks: Iterable[int],
    output_tokens: int,
    *,
    user: str = "",
    session: str = "",
    adapter: str = "",
    taken_for: float = 1.0,
    answer: Sequence[int] = (),
    followed_by: tuple[Arrival, ...] = (),
) -> Arrival:
    """A prompt of full blocks; `answer` names the blocks that a next turn will repeat of what comes back."""
    blocks = [*blocks]
    keys = chained((hash(adapter_number(adapter)), *blocks) if adapter else blocks)[bool(adapter) :]
    whole = chained((hash(adapter_number(adapter)), *blocks, *answer) if adapter else (*blocks, *answer))[
        bool(adapter) :
    ]
    return Arrival(
        at_seconds=at_seconds,
        prompt_tokens=len(blocks) * BLOCK_TOKENS,
        output_tokens=output_tokens,
        prefix=keys,
        user=user,
        session=session,
        adapter=adapter,
        kept=whole[len(keys) :],
        taken_for=taken_for,
        followed_by=followed_by,
    )


def adapter_number(adapter: str) -> int:
    """Of "adapter-7"."""
    return int(adapter.rpartition("-")[2])


def lognormal(rng: np.random.Generator, median: float, spread: float, least: int, most: int) -> int:
    """A length; `spread` is the standard deviation of its logarithm."""
    return int(np.clip(rng.lognormal(np.log(median), spread), least, most))


def times(rng: np.random.Generator, requests: int, per_second: float) -> list[float]:
    """Poisson."""
    seconds: list[float] = np.cumsum(rng.exponential(1.0 / per_second, requests)).tolist()
    return seconds


def conversations(requests: int, per_second: float, seed: int, *, taken_for: Sequence[float] = (1.0,)) -> list[Arrival]:
    """Turns of 1 to 8; a prompt repeats all before, the answer too; the next turn comes 5 to 30 s after the last began.

    Answers have a median of 180 tokens. One of three system prompts of 4 blocks comes first.
    """
    rng, arrivals, session = np.random.default_rng(seed), list[Arrival](), count()
    texts = _texts(taken_for, seed)
    # Sessions that began before the first request go on, so that the rate is what it will be from the beginning.
    at, end = -_SESSION_SECONDS, requests / per_second
    while at < end:
        at += float(rng.exponential(4.5 / per_second))
        number = next(session)
        own, turns = named(100 + number, 40), int(rng.integers(1, 9))
        system, ratio = named(int(rng.integers(3)), 4), next(texts)
        asked_at, length = at, 0
        for _ in range(turns):
            length += int(rng.integers(1, 3))
            output_tokens = lognormal(rng, 180, 0.8, 8, 1500)
            answer_blocks = output_tokens // BLOCK_TOKENS
            prompt = (*system, *own[:length])
            answer = own[length : length + answer_blocks]
            arrivals.append(
                ask(
                    asked_at,
                    prompt,
                    output_tokens,
                    user=f"user-{number % 50}",
                    session=f"session-{number}",
                    taken_for=ratio,
                    answer=answer,
                )
            )
            length += answer_blocks
            asked_at += float(rng.uniform(5.0, 30.0))
    return sorted((each for each in arrivals if 0.0 <= each.at_seconds < end), key=lambda each: each.at_seconds)


def retrieval(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Questions on 150 documents of 4 to 24 blocks, some of them far more often asked about; answers of 250 tokens."""
    rng, fresh = np.random.default_rng(seed), count(10_000)
    lengths = [int(rng.integers(4, 25)) for _ in range(150)]
    weights = 1.0 / np.arange(1, 151) ** 0.9
    chosen = rng.choice(150, size=requests, p=weights / weights.sum()).tolist()
    return [
        ask(
            at,
            (*named(0, 1), *named(1 + document, lengths[document]), *named(next(fresh), 1)),
            lognormal(rng, 220, 0.6, 16, 1200),
            user=f"user-{document % 20}",
        )
        for at, document in zip(times(rng, requests, per_second), chosen, strict=True)
    ]


def coding_agents(sessions: int, calls: int, seed: int) -> list[Arrival]:
    """`sessions` agents at once, each `calls` calls long: the next call comes when the answer has, and tools have run.

    Two kinds of agents with instructions of 8 blocks; a run reads 8 to 40 blocks of a repository first, and adds 1 to 4
    with each call. Runs have 8 to 24 calls; a new one begins when one ends. Answers have a median of 220 tokens, which
    come back in the next prompt.
    """
    rng, runs = np.random.default_rng(seed), count(10)
    return sorted(
        (_agent(rng, runs, f"agent-{number}", calls, float(rng.uniform(0.0, 10.0))) for number in range(sessions)),
        key=lambda each: each.at_seconds,
    )


def _agent(rng: np.random.Generator, runs: Iterable[int], user: str, calls: int, begins_at: float) -> Arrival:
    """The first call; the others follow it."""
    asked: list[tuple[float, tuple[int, ...], tuple[int, ...], int, str]] = []
    runs = iter(runs)
    while len(asked) < calls:
        run, length = next(runs), int(rng.integers(8, 41))
        own = named(run, 200)
        for _ in range(min(int(rng.integers(8, 25)), calls - len(asked))):
            output_tokens = lognormal(rng, 220, 0.7, 16, 1500)
            answer_blocks = output_tokens // BLOCK_TOKENS
            prompt = (*named(run % 2, 8), *own[:length])
            pause_seconds = begins_at if not asked else float(rng.uniform(0.3, 3.0))
            asked.append((pause_seconds, prompt, own[length : length + answer_blocks], output_tokens, f"run-{run}"))
            length += answer_blocks + int(rng.integers(1, 5))
    following: tuple[Arrival, ...] = ()
    for pause_seconds, prompt, answer, output_tokens, session in reversed(asked):
        call = ask(
            pause_seconds, prompt, output_tokens, user=user, session=session, answer=answer, followed_by=following
        )
        following = (call,)
    return following[0]


def adapters_mix(requests: int, per_second: float, seed: int, *, adapters: int = 16) -> list[Arrival]:
    """Prompts of 1 to 4 blocks behind 2 of the adapter's own; the k-th adapter is asked for 1 / k as often."""
    rng, fresh = np.random.default_rng(seed), count(100)
    weights = 1.0 / np.arange(1, adapters + 1)
    chosen = rng.choice(adapters, size=requests, p=weights / weights.sum()).tolist()
    return [
        ask(
            at,
            (*named(adapter, 2), *named(next(fresh), int(rng.integers(1, 5)))),
            lognormal(rng, 120, 0.6, 16, 600),
            adapter=f"adapter-{adapter}",
            user=f"user-{adapter}",
        )
        for at, adapter in zip(times(rng, requests, per_second), chosen, strict=True)
    ]


def lengths_like_azure(
    requests: int, per_second: float, seed: int, *, taken_for: Sequence[float] = (1.0,)
) -> list[Arrival]:
    """Nothing shared; prompts of 1,020 tokens in the median, 1 % above 4,142; answers of 211 in the mean; in bursts."""
    rng, fresh = np.random.default_rng(seed), count()
    gaps, texts = rng.gamma(0.5, 2.0 / per_second, requests), _texts(taken_for, seed)
    arrivals = []
    for at in np.cumsum(gaps).tolist():
        tokens, text = lognormal(rng, 1020, 0.75, 16, 8000), next(fresh)
        arrivals.append(
            Arrival(
                at_seconds=at,
                prompt_tokens=tokens,
                output_tokens=lognormal(rng, 165, 0.7, 1, 1000),
                prefix=chained(named(text, tokens // BLOCK_TOKENS)),
                user=f"user-{text % 40}",
                taken_for=next(texts),
            )
        )
    return arrivals


def _texts(taken_for: Sequence[float], seed: int) -> Iterator[float]:
    """What the lengths of texts are taken for, in turn; those of one kind differ by a tenth, if there are two."""
    rng, spread = np.random.default_rng(seed + 1_000_000), _KIND_SPREAD if len(taken_for) > 1 else 0.0
    for ratio in cycle(taken_for):
        yield ratio * float(rng.lognormal(0.0, spread))


def thinking(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Short questions behind one of two system prompts, and answers of 1,500 tokens in the median, up to 8,000."""
    rng, fresh = np.random.default_rng(seed), count(10)
    return [
        ask(
            at,
            (*named(int(rng.integers(2)), 2), *named(next(fresh), int(rng.integers(1, 4)))),
            lognormal(rng, 1500, 0.8, 64, _LONGEST_ANSWER),
            user=f"user-{int(rng.integers(30))}",
        )
        for at in times(rng, requests, per_second)
    ]


def tenants(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Half are conversations, a third questions on documents, the others fresh prompts of 8 to 24 blocks."""
    rng, fresh = np.random.default_rng(seed), count(50_000)
    parts = (requests // 2, requests // 3)
    rest = requests - sum(parts)
    share = per_second / requests
    batch = [
        ask(at, named(next(fresh), int(rng.integers(8, 25))), int(rng.integers(8, 65)), user="batch")
        for at in times(rng, rest, share * rest)
    ]
    chats = conversations(parts[0], share * parts[0], seed + 1)
    asks = [_other_texts(each) for each in retrieval(parts[1], share * parts[1], seed + 2)]
    return sorted((*chats, *asks, *batch), key=lambda each: each.at_seconds)


def one_document(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Conversations, and every 15 s forty questions at once on a document of 16 blocks that nobody has seen."""
    rng, fresh = np.random.default_rng(seed), count(90_000)
    calm = conversations(int(requests * 0.6), 0.6 * per_second, seed + 1)
    bursts: list[Arrival] = []
    at, every = 5.0, 40 / (0.4 * per_second)
    while len(bursts) < requests - len(calm):
        document = named(next(fresh), 16)
        for _ in range(40):
            asked_at = at + float(rng.uniform(0.0, 0.5))
            bursts.append(
                ask(asked_at, (*document, *named(next(fresh), 1)), lognormal(rng, 120, 0.5, 16, 400), user="batch")
            )
        at += every
    return _cut([*calm, *bursts], requests)


def poisoned(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Conversations, and one request in six is a prompt of 24 blocks that never comes again."""
    rng, fresh = np.random.default_rng(seed), count(90_000)
    poison = requests // 6
    share = per_second / requests
    calm = conversations(requests - poison, share * (requests - poison), seed + 1)
    waste = [ask(at, named(next(fresh), 24), 8, user="poison") for at in times(rng, poison, share * poison)]
    return sorted((*calm, *waste), key=lambda each: each.at_seconds)


def diurnal(requests: int, per_second: float, seed: int) -> list[Arrival]:
    """Conversations whose rate swings between a third and 1.22 times the given one, twice: to 1.1 at a load of 0.9."""
    flat = conversations(requests, per_second, seed)
    end = flat[-1].at_seconds
    ticks = np.linspace(0.0, 1.0, 2001)
    rates = np.array([0.78 - 0.44 * cos(4.0 * pi * tick) for tick in ticks])
    passed = np.concatenate([[0.0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(ticks))])
    # `passed` requests of the flat course come in `ticks` of the swinging one, which lasts as much longer.
    stretched = np.interp([each.at_seconds / end for each in flat], passed / passed[-1], ticks) * end / passed[-1]
    return sorted(
        (replace(each, at_seconds=float(at)) for each, at in zip(flat, stretched, strict=True)),
        key=lambda each: each.at_seconds,
    )


def _other_texts(arrival: Arrival) -> Arrival:
    """The same lengths, shared in the same way, of texts of another generator."""
    return replace(arrival, prefix=tuple(key ^ 0x5555_5555 for key in arrival.prefix))


def _cut(arrivals: list[Arrival], requests: int) -> list[Arrival]:
    return sorted(arrivals, key=lambda each: each.at_seconds)[:requests]
