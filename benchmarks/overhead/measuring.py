"""Rounds of load over all subjects, turn by turn, so that a busy moment of the machine hits none alone.

Envoy's log comes up to a second late, and what it costs belongs to the requests that it tells of. So the CPU time of a
chain that has a log is read a little later, while another chain is under load. What processes use when nobody asks
anything (scrapes above all) is measured first, and taken off.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np

from benchmarks.load import LoadProcess
from benchmarks.overhead.matrix import BUSY, STEADY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.load import Load, Outcome
    from benchmarks.overhead.matrix import Cell, Rounds
    from benchmarks.overhead.variants import Subject

IDLE_SECONDS = 3.0
WARM_UP_REQUESTS = 200


class Chain(Protocol):
    """Something that answers requests, and knows what CPU time it has used."""

    @property
    def gateway_port(self) -> int:
        """Where clients ask."""
        ...

    @property
    def with_user(self) -> bool:
        """Whether its requests name a user."""
        ...

    @property
    def lag_seconds(self) -> float:
        """How much later than its last response it may still work for it."""
        ...

    def cpu_seconds(self) -> tuple[float, float]:
        """Of Envoy, and of what it asks."""
        ...


class Round(NamedTuple):
    """One load on one subject. CPU times are those of whole processes, per completed request."""

    envoy_us: float
    plugin_us: float
    client_us: float
    per_second: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float


@dataclass(slots=True)
class Measured:
    """All rounds, by path and subject; and what went wrong in them."""

    rounds: dict[str, dict[str, list[Round]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    steady_ttfb_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of every request of the steady load."""
    idle_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    """CPU milliseconds per second of Envoy and of what it asks, by chain, while nobody asks anything."""
    errors: Counter[str] = field(default_factory=Counter)
    timeouts: int = 0

    def figure(self, cell: Cell, subject: str, read: Callable[[Round], float]) -> list[float]:
        """One figure of all rounds; empty where there were none."""
        return [read(one) for one in self.rounds.get(cell.path, {}).get(subject, ())]


class Turns:
    """Sends loads to chains that run; an async context manager."""

    def __init__(self, chains: dict[str, Chain], share: float = 1.0) -> None:
        self.measured = Measured()
        self._chains = chains
        self._share = share
        self._sender = LoadProcess()
        self._pending: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._pending.values():
            task.cancel()
        await asyncio.gather(*self._pending.values(), return_exceptions=True)
        await self._sender.__aexit__()

    async def warm_up(self, subjects: Sequence[Subject]) -> None:
        """What processes need once; then what they use while idle."""
        for subject in subjects:
            requests = max(1, round(WARM_UP_REQUESTS * self._share))
            await self._sender.run(replace(self._load(BUSY.load(), subject), requests=requests))
        await asyncio.sleep(max(chain.lag_seconds for chain in self._chains.values()))
        before = {name: chain.cpu_seconds() for name, chain in self._chains.items()}
        seconds = IDLE_SECONDS * self._share
        await asyncio.sleep(seconds)
        for name, (envoy, plugin) in before.items():
            now = self._chains[name].cpu_seconds()
            self.measured.idle_ms[name] = ((now[0] - envoy) / seconds * 1e3, (now[1] - plugin) / seconds * 1e3)

    async def all(self, rounds: Sequence[Rounds], *, backwards: bool, done: Callable[[], None]) -> None:
        """Every subject of every cell once; who came last in one repeat comes first in the next."""
        for cell, subjects in rounds:
            for subject in subjects:  # their order in tables, whoever is ready first
                self.measured.rounds[cell.path].setdefault(subject.name, [])
        seen: set[tuple[Cell, str]] = set()
        for cell, subjects in reversed(rounds) if backwards else rounds:
            for subject in reversed(subjects) if backwards else subjects:
                await self._one(cell, subject, is_first=(cell, subject.name) not in seen)
                seen.add((cell, subject.name))
                done()
        await asyncio.gather(*self._pending.values())

    def _load(self, load: Load, subject: Subject) -> Load:
        chain = self._chains[subject.chain.name]
        return replace(load, port=chain.gateway_port, with_user=chain.with_user, headers=dict(subject.headers))

    async def _one(self, cell: Cell, subject: Subject, *, is_first: bool) -> None:
        name = subject.chain.name
        if name in self._pending:
            await self._pending.pop(name)
        loop, chain = asyncio.get_running_loop(), self._chains[name]
        began, before = loop.time(), chain.cpu_seconds()
        outcome = await self._sender.run(self._load(cell.load(self._share), subject))

        async def account() -> None:
            await asyncio.sleep(chain.lag_seconds)
            now, seconds, idle = chain.cpu_seconds(), loop.time() - began, self.measured.idle_ms.get(name, (0.0, 0.0))
            used = [now[part] - before[part] - idle[part] / 1e3 * seconds for part in (0, 1)]
            self._add(cell, subject, outcome, (used[0], used[1]) if is_first else None)

        self._pending[name] = asyncio.create_task(account())

    def _add(self, cell: Cell, subject: Subject, outcome: Outcome, cpu_seconds: tuple[float, float] | None) -> None:
        """Without CPU times: a cell's second turn in a repeat, which only adds to the steady times."""
        measured = self.measured
        measured.errors.update(outcome.errors)
        measured.timeouts += outcome.timeouts
        if cpu_seconds is not None:
            measured.rounds[cell.path][subject.name].append(round_of(outcome, *cpu_seconds))
        if cell == STEADY:
            measured.steady_ttfb_ms[subject.name] += outcome.ttfb_ms


def round_of(outcome: Outcome, envoy_seconds: float, plugin_seconds: float) -> Round:
    """Per request."""
    completed = max(outcome.completed, 1)
    ttfb = np.array(outcome.ttfb_ms or [np.nan])
    return Round(
        envoy_us=max(envoy_seconds, 0.0) / completed * 1e6,
        plugin_us=max(plugin_seconds, 0.0) / completed * 1e6,
        client_us=outcome.cpu_seconds / completed * 1e6,
        per_second=outcome.completed / outcome.seconds,
        ttfb_p50_ms=float(np.quantile(ttfb, 0.5)),
        ttfb_p99_ms=float(np.quantile(ttfb, 0.99)),
    )
