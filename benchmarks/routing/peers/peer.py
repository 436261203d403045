"""What all peers have: open requests by pod, engines' pages, and chance."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.routing.report import Served
    from benchmarks.routing.workloads import Arrival
    from routing.spec import PodSpec
    from simulator import LeapingEngine

PAGE_SECONDS = 0.05
"""How often peers read engines; a page is read anew when it is asked for and older than that."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a peer knows of an engine."""

    read_at_seconds: float
    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Asked:
    """An open request."""

    arrival: Arrival
    address: str


class Peer:
    """One replica of another product's router; a subclass chooses."""

    poll_seconds = 0.0
    shares_counts = False
    """Whether replicas tell each other of open requests."""
    shares_index = False
    """Whether replicas tell each other of prompts."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        """Open requests by address."""
        self.addresses: list[str] = []
        self.engines: Mapping[str, LeapingEngine] = {}
        self.asked: dict[str, Asked] = {}
        self._pages: dict[str, Page] = {}

    def choose(self, arrival: Arrival) -> str:
        """One of `addresses`, of which there is at least one."""
        raise NotImplementedError

    def chosen(self, arrival: Arrival, address: str) -> None:
        """It goes there."""

    def gone(self, address: str) -> None:
        """A pod is there no longer."""

    def discovered(self, pods: Sequence[PodSpec], engines: Mapping[str, LeapingEngine]) -> None:
        """As `Gateway.discovered`."""
        addresses = [pod.address for pod in pods]
        for address in set(self.addresses).difference(addresses):
            self.gone(address)
        self.addresses, self.engines = addresses, engines

    def book(self, arrival: Arrival, charge_id: str) -> str | None:
        """As `Gateway.book`."""
        if not self.addresses:
            return None
        address = self.choose(arrival)
        self.counts[address] += 1
        self.asked[charge_id] = Asked(arrival, address)
        self.chosen(arrival, address)
        return address

    def first_token(self, charge_id: str, ttft_seconds: float) -> None:
        """As `Gateway.first_token`."""

    def ended(self, charge_id: str) -> None:
        """As `Gateway.ended`."""
        asked = self.asked.pop(charge_id)
        self.counts[asked.address] -= 1

    def logged(self, charge_id: str, arrival: Arrival, address: str, served: Served | None) -> None:
        """Peers know answers by their streams."""

    def polled(self, address: str) -> None:
        """Pages are read when they are asked for."""

    def page(self, address: str) -> Page:
        """The engine's numbers, a little old."""
        page, now = self._pages.get(address), self.clock()
        if page is None or now - page.read_at_seconds > PAGE_SECONDS:
            engine = self.engines[address]
            page = Page(now, len(engine.running), len(engine.waiting), engine.cache.usage)
            self._pages[address] = page
        return page

    def best(self, costs: Mapping[str, float]) -> str:
        """The address of the lowest cost; chance among equals."""
        least = min(costs.values())
        return self.random.choice([address for address, cost in costs.items() if cost == least])

    def least_request(self, addresses: Sequence[str] | None = None) -> str:
        """The fewest open requests."""
        return self.best({address: self.counts[address] for address in addresses or self.addresses})


class RoundRobin(Peer):
    """One after another."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self._next = self.random.randrange(1000)

    def choose(self, arrival: Arrival) -> str:
        """Whose turn it is."""
        del arrival
        self._next += 1
        return self.addresses[self._next % len(self.addresses)]


class LeastRequest(Peer):
    """The fewest requests in flight, of this replica: GIE's and others' plain choice."""

    def choose(self, arrival: Arrival) -> str:
        """Random among equals."""
        del arrival
        return self.least_request()
