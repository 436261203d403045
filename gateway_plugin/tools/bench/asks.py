"""What is sent, and when: Poisson arrivals, a trace's own, or as soon as one of several clients is free."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway_plugin.tools.bench.lengths import AskLengths

USER_PREFIX = "bench-"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: when it is due, seconds after the start; how long; for whom.

    `blocks` name the texts that the prompt begins with: the same name is the same text. What they do not cover is text
    that no other request has.
    """

    at_seconds: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True)
class AskBounds:
    """Where a run ends; None is no bound."""

    requests: int | None = None
    seconds: float | None = None

    def cut(self, asks: Iterable[Ask]) -> Iterator[Ask]:
        """Those that are due within the bounds; needs them in order of time."""
        for number, ask in enumerate(asks):
            if self.requests is not None and number >= self.requests:
                return
            if self.seconds is not None and ask.at_seconds > self.seconds:
                return
            yield ask


def poisson(rate_per_second: float, prompts: AskLengths, outputs: AskLengths, seed: int) -> Iterator[Ask]:
    """Without end: times between requests are exponential, so that they come as from many independent clients."""
    times, lengths = random.Random(f"times {seed}"), random.Random(f"lengths {seed}")
    at_seconds = 0.0
    while True:
        at_seconds += times.expovariate(rate_per_second)
        yield Ask(at_seconds, prompts.draw(lengths), outputs.draw(lengths))


def closed(prompts: AskLengths, outputs: AskLengths, seed: int) -> Iterator[Ask]:
    """Without end and without times: for clients that ask again when they have their answer."""
    lengths = random.Random(f"lengths {seed}")
    while True:
        yield Ask(0.0, prompts.draw(lengths), outputs.draw(lengths))


def shaped(asks: Iterable[Ask], *, speedup: float, longest_prompt_tokens: int | None) -> Iterator[Ask]:
    """A trace made faster, and its longest prompts cut at their end, so that they share what they shared."""
    for ask in asks:
        tokens = min(ask.prompt_tokens, longest_prompt_tokens or ask.prompt_tokens)
        yield replace(ask, at_seconds=ask.at_seconds / speedup, prompt_tokens=tokens)


def with_users(asks: Iterable[Ask], users: int, seed: int) -> Iterator[Ask]:
    """Each from one of so many users, drawn evenly: `bench-0`, `bench-1` ... 0 users: nobody is named."""
    draw = random.Random(f"users {seed}")
    for ask in asks:
        yield replace(ask, user=f"{USER_PREFIX}{draw.randrange(users)}") if users else ask
