"""The ring: named workloads, each with the pods that it meets and the rate at which these are full.

A load of 0.9 is nine tenths of `capacity_per_second`, which `python -m benchmarks.routing.capacity` measures: what the
pods do while a queue that never ends is shared out by who knows the caches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.routing import sources, workloads
from benchmarks.routing.capacities import CAPACITIES
from benchmarks.routing.fleets import Fleet, fleet
from benchmarks.routing.weather import Weather, pods_come_and_go, slows_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.workloads import Arrival


@dataclass(frozen=True, slots=True)
class Work:
    """One workload of the ring."""

    name: str
    title: str
    """For people."""
    generate: Callable[[int, float, int], list[Arrival]]
    """Of so many requests, as many a second, with a seed."""
    fleet: Fleet = field(default_factory=lambda: fleet("default", 8))
    weather: Callable[[float], tuple[Weather, ...]] = lambda seconds: ()
    """What happens to pods in a run of so many seconds."""
    adapters: tuple[str, ...] = ()
    is_closed: bool = False
    """Whether the next request waits for the last one's answer: then capacity counts sessions, not rate."""
    shares_prefixes: bool = True
    as_full_as: str = ""
    """Another workload of the same requests on the same pods, whose capacity it has."""

    @property
    def capacity_per_second(self) -> float:
        """Requests a second at which the pods are full; of closed work the sessions at which they are."""
        return CAPACITIES[self.as_full_as or self.name]

    def arrivals(self, load: float, requests: int, seed: int) -> list[Arrival]:
        """About so many requests at a share of the capacity."""
        return self.generate(requests, load * self.capacity_per_second, seed)

    def seconds(self, load: float, requests: int) -> float:
        """About how long the arrivals last."""
        if self.is_closed:
            return requests / self.capacity_per_second / load * _CALL_SECONDS
        return requests / (load * self.capacity_per_second)


_CALL_SECONDS = 5.0
"""Of a closed loop: an answer and a pause, about."""


def _coding(requests: int, sessions: float, seed: int) -> list[Arrival]:
    agents = max(1, round(sessions))
    return sources.coding_agents(agents, max(8, requests // agents), seed)


def _fresh(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.unshared(requests, per_second, seed)


def _system_prompt(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.shared_system_prompt(requests, per_second, documents=0, seed=seed)


def _documents(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return workloads.shared_system_prompt(requests, per_second, documents=64, seed=seed)


def _chats(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return _amid(partial(workloads.chats, seed=seed), requests, per_second, calls=6, before_seconds=75.0)


def _agents(requests: int, per_second: float, seed: int) -> list[Arrival]:
    return _amid(partial(workloads.agents, seed=seed), requests, per_second, calls=22, before_seconds=40.0)


def _amid(
    sessions: Callable[[int, float], list[Arrival]],
    requests: int,
    per_second: float,
    *,
    calls: int,
    before_seconds: float,
) -> list[Arrival]:
    """What comes of sessions that began up to so long before: the rate is steady from the first request on."""
    seconds, rate = requests / per_second, per_second / calls
    arrivals = sessions(max(1, round(rate * (seconds + before_seconds))), rate)
    return [
        replace(each, at_seconds=each.at_seconds - before_seconds)
        for each in arrivals
        if before_seconds <= each.at_seconds < before_seconds + seconds
    ]


_ADAPTERS = tuple(f"adapter-{number}" for number in range(16))
_WRONG = (2.0, 0.5)
WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work("system-prompt", "one system prompt for all, and tails", _system_prompt),
        Work("documents", "questions on 64 documents, pods that hold 10 each", _documents, fleet("small", 8)),
        Work("chats", "chats of 6 turns with short answers", _chats),
        Work("agents", "agents with tools and helpers, open loop", _agents),
        Work("unshared", "nothing shared, prompts of 512 to 8,192 tokens", _fresh, shares_prefixes=False),
        Work("conversations", "turns that repeat question and answer, answers of 180 tokens", sources.conversations),
        Work("retrieval", "questions on 150 documents, some popular, answers of 220 tokens", sources.retrieval),
        Work("azure", "lengths and bursts like Azure's conversations", sources.lengths_like_azure, fleet("default", 4)),
        Work("slowed-pod", "conversations; one of 8 pods is four times as slow in the middle third",
             sources.conversations, weather=slows_down, as_full_as="conversations"),
        Work("coding-agents", "closed loop: long contexts, the next call after the answer", _coding, is_closed=True),
        Work("lora-mix", "16 adapters on pods with 4 slots", sources.adapters_mix, fleet("lora", 8),
             adapters=_ADAPTERS),
        Work("seqs-32", "conversations on engines that run 32 sequences at most", sources.conversations,
             fleet("seqs-32", 8)),
        Work("chunk-512", "conversations on engines with steps of 512 tokens", sources.conversations,
             fleet("chunk-512", 8)),
        Work("h100", "conversations on H100s with an 8B model", sources.conversations, fleet("h100-8b", 8)),
        Work("h100-retrieval", "retrieval on H100s with an 8B model", sources.retrieval, fleet("h100-8b", 8)),
        Work("70b", "conversations on H100s, four to a 70B model", sources.conversations, fleet("h100-70b-tp4", 8)),
        Work("moe", "conversations on H100s with a mixture of experts", sources.conversations, fleet("h100-moe", 8)),
        Work("wrong-estimates", "conversations whose lengths are taken for double or half, by kind of text",
             partial(sources.conversations, taken_for=_WRONG), as_full_as="conversations"),
        Work("azure-wrong", "like azure, lengths taken for double or half, by kind of text",
             partial(sources.lengths_like_azure, taken_for=_WRONG), fleet("default", 4), as_full_as="azure"),
        Work("tenants", "conversations, documents and a batch of long prompts", sources.tenants),
        Work("thinking", "answers of 1,500 tokens, some of 8,000", sources.thinking, fleet("h100-8b", 8)),
        Work("one-document", "conversations, and bursts on one new document", sources.one_document),
        Work("pods-come-and-go", "conversations; 2 of 8 pods go, 4 cold ones come, 2 go", sources.conversations,
             weather=pods_come_and_go, as_full_as="conversations"),
        Work("mixed-cards", "conversations on A10, L40S, A100 and H100, two of each", sources.conversations,
             fleet("mixed", 8)),
        Work("poisoned", "conversations, and one request in six is long and never repeated", sources.poisoned),
        Work("diurnal", "conversations whose rate swings, up to 1.1 of what is possible", sources.diurnal,
             as_full_as="conversations"),
    )
}  # fmt: skip
