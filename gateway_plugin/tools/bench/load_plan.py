"""What a run does, from the options of the command; every mistake in them is named before anything is sent."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway_plugin.tools.bench import asks, lengths, traces
from gateway_plugin.tools.bench.summary import Objective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gateway_plugin.tools.bench.target import BenchTarget

DEFAULT_RATE_PER_SECOND = 5.0
DEFAULT_SECONDS = 60.0
DEFAULT_PROMPT_TOKENS, DEFAULT_OUTPUT_TOKENS = "512", "128"


class PlanError(ValueError):
    """Options that do not go together; the text names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When requests come: by a trace, by a rate (Poisson), or from so many clients that wait for their answers."""

    trace: Path | None = None
    rate_per_second: float | None = None
    concurrency: int | None = None
    prompt_tokens: str = ""
    output_tokens: str = ""
    requests: int | None = None
    seconds: float | None = None
    speedup: float = 1.0
    longest_prompt_tokens: int | None = None
    users: int = 0

    def __post_init__(self) -> None:
        ways = {"--trace": self.trace, "--rate": self.rate_per_second, "--concurrency": self.concurrency}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise PlanError(f"{' and '.join(given)}: give one of them, each says when requests come")
        if self.trace is not None and (self.prompt_tokens or self.output_tokens):
            raise PlanError("--prompt-tokens and --output-tokens: not with --trace, which has its own lengths")
        if self.trace is None and self.speedup != 1.0:
            raise PlanError("--speedup: only with --trace; without it, --rate says how fast requests come")

    @property
    def bounds(self) -> asks.AskBounds:
        """A trace ends by itself; all else after a minute unless something is said."""
        endless = self.trace is None and self.requests is None and self.seconds is None
        return asks.AskBounds(self.requests, DEFAULT_SECONDS if endless else self.seconds)

    def asks(self, seed: int) -> Iterator[asks.Ask]:
        """Raises TraceError and LengthsError; the same seed gives the same."""
        prompts = lengths.parse(self.prompt_tokens or DEFAULT_PROMPT_TOKENS, "--prompt-tokens")
        outputs = lengths.parse(self.output_tokens or DEFAULT_OUTPUT_TOKENS, "--output-tokens")
        every: Iterable[asks.Ask]
        if self.trace is not None:
            every = traces.read_trace(self.trace)
        elif self.concurrency is not None:
            every = asks.closed(prompts, outputs, seed)
        else:
            every = asks.poisson(self.rate_per_second or DEFAULT_RATE_PER_SECOND, prompts, outputs, seed)
        every = asks.shaped(every, speedup=self.speedup, longest_prompt_tokens=self.longest_prompt_tokens)
        return self.bounds.cut(asks.with_users(every, self.users, seed))

    def about(self) -> dict[str, Any]:
        """For the result: what was given, and what stands for what was not."""
        if self.trace is not None:
            return {"trace": self.trace.name, "speedup": self.speedup, **self._common()}
        drawn = {
            "prompt_tokens": self.prompt_tokens or DEFAULT_PROMPT_TOKENS,
            "output_tokens": self.output_tokens or DEFAULT_OUTPUT_TOKENS,
        }
        if self.concurrency is not None:
            return {"concurrency": self.concurrency, **drawn, **self._common()}
        return {"rate_per_second": self.rate_per_second or DEFAULT_RATE_PER_SECOND, **drawn, **self._common()}

    def _common(self) -> dict[str, Any]:
        bounds = {"requests": self.bounds.requests, "seconds": self.bounds.seconds}
        more = {"longest_prompt_tokens": self.longest_prompt_tokens, "users": self.users or None}
        return {name: value for name, value in (bounds | more).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """All of a measurement."""

    target: BenchTarget
    arrivals: Arrivals
    strategies: tuple[str, ...] = ("",)
    repeats: int = 1
    seed: int = 0
    salt: str
    """Of the texts."""
    block_tokens: int = traces.BLOCK_TOKENS
    objective: Objective = field(default_factory=Objective)
    pause_seconds: float = 2.0
    """Between runs, in which engines' metrics become those of idle ones."""
    out: Path | None = None

    def about(self) -> dict[str, Any]:
        """The load, for the result."""
        return {
            "url": self.target.url,
            "model": self.target.model,
            "stream": self.target.stream,
            **self.arrivals.about(),
            "timeout_seconds": self.target.timeout_seconds,
            "slo_ttft_seconds": self.objective.ttft_seconds,
            "slo_tpot_seconds": self.objective.tpot_seconds,
            "seed": self.seed,
        }


def new_salt() -> str:
    """Texts that nobody has seen: no run finds what an earlier one left in caches."""
    return secrets.token_hex(4)


def read_strategies(text: str) -> tuple[str, ...]:
    """Names with commas between them. A weighted combination has commas, too: parts with a colon belong together."""
    names: list[str] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        weighted = ":" in part and bool(names) and ":" in names[-1]
        names[-1:] = [f"{names[-1]},{part}"] if weighted else [*names[-1:], part]
    if len(set(names)) < len(names):
        raise PlanError(f"--strategy {text}: every strategy once; --repeats measures each several times")
    return tuple(names) or ("",)
