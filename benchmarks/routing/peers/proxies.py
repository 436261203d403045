"""Routers through which answers pass: SGLang's `cache_aware`, production-stack's `prefixaware`, Dynamo's KV cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.routing.peers.peer import Peer
from benchmarks.routing.peers.prompt_index import CommonIndex
from benchmarks.routing.workloads import BLOCK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.workloads import Arrival

_CACHE_THRESHOLD, _ABSOLUTE, _RELATIVE = 0.3, 64, 1.5
_UNBOUNDED = 1 << 40


class SglangCacheAware(Peer):
    """Match above 0.3, unless requests in flight differ by more than 64 and half: then, and else, the least loaded.

    Also what vLLM's Rust router does, a fork of it. Its tree holds 2^26 characters' nodes and is swept every two
    minutes: more than any of these workloads brings. Replicas may tell each other of prompts (gossip).
    """

    shares_index = True

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self.index = CommonIndex(_UNBOUNDED)

    def choose(self, arrival: Arrival) -> str:
        """By loads first, then by match."""
        loads = [self.counts[address] for address in self.addresses]
        most, least = max(loads), min(loads)
        if not (most - least > _ABSOLUTE and most > _RELATIVE * least):
            matched, holders = self.index.longest(arrival.prefix, self.addresses)
            if matched * BLOCK_TOKENS > _CACHE_THRESHOLD * arrival.prompt_tokens:
                return self.random.choice(sorted(holders))
        return self.least_request()

    def chosen(self, arrival: Arrival, address: str) -> None:
        """The prompt is recorded."""
        self.index.insert(arrival.prefix, address)


class PrefixAware(Peer):
    """The longest match in a trie that forgets nothing, chance among its holders and where there is no match."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self.index = CommonIndex(_UNBOUNDED)

    def choose(self, arrival: Arrival) -> str:
        """Load is not seen."""
        _, holders = self.index.longest(arrival.prefix, self.addresses)
        return self.random.choice(sorted(holders) or self.addresses)

    def chosen(self, arrival: Arrival, address: str) -> None:
        """The prompt is recorded."""
        self.index.insert(arrival.prefix, address)


class DynamoKv(Peer):
    """max(prefill under way + prompt - overlap, 0) + blocks of open requests, in blocks; the lowest wins.

    The overlap is what the engine's events tell: here what it really holds, without delay. Replicas share both sums.
    """

    shares_counts = True
    shares_index = True

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self.prefill_tokens: Counter[str] = Counter()
        self.active_tokens: Counter[str] = Counter()
        self._prefilling: dict[str, int] = {}

    def choose(self, arrival: Arrival) -> str:
        """Chance among equals."""
        costs = {}
        for address in self.addresses:
            prefill = max(0, self.prefill_tokens[address] + self._uncached_tokens(arrival, address))
            costs[address] = (prefill + self.active_tokens[address]) / BLOCK_TOKENS
        return self.best(costs)

    def book(self, arrival: Arrival, charge_id: str) -> str | None:
        """Booked until the first token, and until the end."""
        address = super().book(arrival, charge_id)
        if address is not None:
            self._prefilling[charge_id] = uncached = self._uncached_tokens(arrival, address)
            self.prefill_tokens[address] += uncached
            self.active_tokens[address] += arrival.prompt_tokens
        return address

    def first_token(self, charge_id: str, ttft_seconds: float) -> None:
        """Its prefill is done."""
        self.prefill_tokens[self.asked[charge_id].address] -= self._prefilling.pop(charge_id)

    def ended(self, charge_id: str) -> None:
        """Its blocks are free."""
        asked = self.asked[charge_id]
        self.prefill_tokens[asked.address] -= self._prefilling.pop(charge_id, 0)
        self.active_tokens[asked.address] -= asked.arrival.prompt_tokens
        super().ended(charge_id)

    def _uncached_tokens(self, arrival: Arrival, address: str) -> int:
        held = self.engines[address].cache.cached_blocks(arrival.prefix)
        return max(0, arrival.prompt_tokens - held * BLOCK_TOKENS)
