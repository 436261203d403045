"""What is measured: workloads, the pods that they meet, and where recorded traffic comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.results import ROOT
from benchmarks.routing import workloads
from benchmarks.routing.cluster import equal_pods
from benchmarks.routing.traces import like_mooncake, recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.routing.workloads import Arrival
    from simulator import EngineConfig

BESIDE = ROOT.parent / "shared/traces"
"""Public traces beside the project; they are no part of it."""
MOONCAKE, AZURE = "mooncake", "azure"
# Large enough for the longest prompts of Mooncake's traces: 2,048,000 tokens.
_LARGE_BLOCKS = 4000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload by seed, and its pods. All strategies get the same arrivals of a seed."""

    name: str
    title: str
    """For people: what comes how fast to what."""
    workload: Callable[[int], list[Arrival]]
    pods: tuple[EngineConfig, ...]
    shares_prefixes: bool = True
    fast_pods: int = 0
    """How many of the pods, from the first on, are twice as fast as the others."""


def all_scenarios(traces: tuple[Path, ...] = (), size: float = 1.0) -> list[Scenario]:
    """Generated traffic and the traces that were named, else those beside the project; `size` shortens everything."""
    return [*_recorded(traces or _beside(), size), *_shared(size), *_unshared(size)]


def rising_load(size: float = 1.0) -> dict[float, Scenario]:
    """Chats at rising rates, by requests per second; the last are more than 8 pods can do with the best of caches."""
    rates = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0)[:: 1 if size >= 1.0 else 4]
    return {
        6 * rate: Scenario(f"chats@{rate:g}", "", partial(_chats, int(2 + 60 * rate * size), rate), _pods(8))
        for rate in rates
    }


def _beside() -> tuple[Path, ...]:
    return tuple(
        path for path in (BESIDE / "mooncake_synthetic.jsonl", BESIDE / "azure_2023_conv.csv") if path.exists()
    )


def _recorded(traces: tuple[Path, ...], size: float) -> list[Scenario]:
    scenarios = [_trace(path, size) for path in traces]
    if any(scenario.name.startswith(MOONCAKE) for scenario in scenarios):
        return scenarios
    requests = int(4000 * size)
    title = f"{requests} generated requests in place of Mooncake's trace, which is not here; 8 large pods"
    return [Scenario(f"{MOONCAKE}-like", title, partial(_like_mooncake, requests), _pods(8, _LARGE_BLOCKS)), *scenarios]


def _trace(path: Path, size: float) -> Scenario:
    if path.suffix == ".csv":
        requests = int(3000 * size)
        title = f"the first {requests} requests of {path.name}, three times as fast; lengths only; 4 pods"
        workload = partial(_replayed, path, 3.0, requests)
        return Scenario(_name_of(path, AZURE), title, workload, _pods(4), shares_prefixes=False)
    most = None if size >= 1.0 else int(4000 * size)
    title = f"{f'the first {most} requests of ' if most else ''}{path.name}; 8 large pods"
    return Scenario(_name_of(path, MOONCAKE), title, partial(_replayed, path, 1.0, most), _pods(8, _LARGE_BLOCKS))


def _name_of(path: Path, usual: str) -> str:
    return usual if path.stem.startswith(usual) else path.stem


def _shared(size: float) -> list[Scenario]:
    def of(name: str, title: str, workload: Callable[[int], list[Arrival]], pods: int, blocks: int = 512) -> Scenario:
        return Scenario(name, title, workload, _pods(pods, blocks))

    requests = int(2000 * size)
    return [
        of("system-prompt", "one system prompt for all, 40/s, 8 pods", partial(_documents, requests, 40.0, 0), 8),
        of(
            "documents",
            "questions on 64 documents behind one system prompt, 30/s, 8 small pods that hold 10 documents each",
            partial(_documents, requests, 30.0, 64),
            8,
            160,
        ),
        of("chats", "chats of 6 turns, 4 new ones a second, 8 pods", partial(_chats, int(400 * size), 4.0), 8),
        of("agents", "agents with tools and helpers, 2 runs/s, 8 pods", partial(_agents, int(120 * size), 2.0), 8),
        of(
            "bursts",
            "nothing shared at 6/s, and 60 questions on one document at once every 20 s, 8 pods",
            partial(_bursts, 200 * size, 6.0),
            8,
        ),
    ]


def _unshared(size: float) -> list[Scenario]:
    requests = int(2000 * size)
    pods = _pods(8)
    mixed = tuple(config.at_speed(2.0) if number < 4 else config for number, config in enumerate(pods))
    return [
        Scenario(
            "unshared", "nothing shared, 9/s, 8 pods", partial(_fresh, requests, 9.0), pods, shares_prefixes=False
        ),
        Scenario(
            "mixed-pods",
            "nothing shared, 15/s, 4 of 8 pods twice as fast",
            partial(_fresh, requests, 15.0),
            mixed,
            shares_prefixes=False,
            fast_pods=4,
        ),
        Scenario(
            "flood",
            "one user floods 4 pods with 16/s, five others send 0.4/s each, for a minute; nothing shared",
            partial(_flood, 60.0 * size),
            _pods(4),
            shares_prefixes=False,
        ),
    ]


def _pods(count: int, blocks: int = 512) -> tuple[EngineConfig, ...]:
    return tuple(equal_pods(count, blocks))


def _replayed(path: Path, speed: float, most: int | None, seed: int) -> list[Arrival]:
    del seed  # of the past there is one; seeds change ties and the engines' jitter
    return recorded(path, speed, most)


def _like_mooncake(requests: int, seed: int) -> list[Arrival]:
    return like_mooncake(requests, seed)


def _documents(requests: int, per_second: float, documents: int, seed: int) -> list[Arrival]:
    return workloads.shared_system_prompt(requests, per_second, documents=documents, seed=seed)


def _chats(sessions: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.chats(sessions, per_second, seed=seed)


def _agents(runs: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.agents(runs, per_second, seed=seed)


def _bursts(seconds: float, per_second: float, seed: int) -> list[Arrival]:
    return workloads.bursts(seconds, per_second, seed=seed)


def _fresh(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.unshared(requests, per_second, seed)


def _flood(seconds: float, seed: int) -> list[Arrival]:
    return workloads.flood_and_light(seconds, 16.0, 0.4, light_users=5, seed=seed)
