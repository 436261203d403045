"""Every autoscaler with every target under every load: a run for each seed, several at once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.scaling import peers
from benchmarks.scaling.clairvoyant import Clairvoyant
from benchmarks.scaling.fleet import Fleet, Outcome
from benchmarks.scaling.loads import HOUR_SECONDS, loads
from benchmarks.scaling.own import Own
from orchestration.scaling.gateway_policy import GatewayOptions
from simulator.cards import profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.scaling.fleet import Scaler
    from benchmarks.scaling.loads import Ask
    from simulator import EngineConfig

START_SECONDS = 60.0
MOST_PODS = 12
_BLOCK_TOKENS = 128

OWN = "gateway"
CLAIRVOYANT = "clairvoyant"
KNOBS: dict[str, Sequence[float]] = {
    "HPA": (0.55, 0.7),
    "KPA": (9, 12, 15),
    "KPA (AIBrix)": (0.2,),
    "APA": (0.45,),
    "KEDA": (1,),
    "KEDA (all)": (10, 14),
    OWN: (1, 2, 3),
    CLAIRVOYANT: (1.1,),
}
"""By autoscaler its targets: usage, requests of a pod, or the place in `LADDER`."""
LADDER = (
    GatewayOptions(utilisation=0.95, ready_for=0.0),
    GatewayOptions(utilisation=0.8, ready_for=0.0),
    GatewayOptions(utilisation=1.0, ready_for=0.9),
    GatewayOptions(utilisation=0.85, ready_for=0.9),
    GatewayOptions(utilisation=0.7, ready_for=0.95),
)
"""The gateway policy from cheap to careful."""
_PEERS: dict[str, Callable[[float], Scaler]] = {
    "HPA": peers.hpa,
    "KPA": peers.knative,
    "KPA (AIBrix)": peers.AibrixKpa,
    "APA": peers.apa,
    "KEDA": peers.keda_waiting,
    "KEDA (all)": peers.keda_all,
}


@dataclass(frozen=True, slots=True)
class Task:
    load: str
    scaler: str
    knob: float
    seed: int


def tasks(names: Sequence[str], seeds: int) -> list[Task]:
    """Seed by seed, so that a run that is broken off has whole seeds."""
    return [
        Task(load, scaler, knob, seed)
        for seed in range(seeds)
        for load in names
        for scaler, knobs in KNOBS.items()
        for knob in knobs
    ]


def run_one(task: Task, trace: Path | None) -> Outcome:
    load = next(load for load in loads(trace) if load.name == task.load)
    asks = load.asks(task.seed)
    return Fleet(engine(), START_SECONDS, MOST_PODS, task.seed).run(asks, _scaler(task, asks), HOUR_SECONDS)


def run_all(todo: Sequence[Task], trace: Path | None, workers: int) -> Iterator[tuple[Task, Outcome]]:
    """As they end."""
    with ProcessPoolExecutor(workers) as pool:
        running = {pool.submit(run_one, task, trace): task for task in todo}
        for future in as_completed(running):
            yield running[future], future.result()


def engine() -> EngineConfig:
    """An A10 with an 8B model: some 25 requests of these loads at once."""
    card = profile("A10", "8B")
    tokens = card.num_blocks * card.block_tokens // _BLOCK_TOKENS * _BLOCK_TOKENS
    blocks = tokens // _BLOCK_TOKENS
    return replace(card, block_tokens=_BLOCK_TOKENS, num_blocks=blocks, max_model_len=min(card.max_model_len, tokens))


def _scaler(task: Task, asks: Sequence[Ask]) -> Scaler:
    if task.scaler == OWN:
        return Own(LADDER[int(task.knob)])
    if task.scaler == CLAIRVOYANT:
        return Clairvoyant(asks, task.knob)
    return _PEERS[task.scaler](task.knob)
