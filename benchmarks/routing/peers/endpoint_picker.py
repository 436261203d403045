"""llm-d's endpoint picker: a weighted sum of scores between 0 and 1, the highest wins. Replicas share nothing."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from benchmarks.routing.peers.peer import Peer
from benchmarks.routing.peers.prompt_index import IndexByPod

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.workloads import Arrival

_QUEUE, _KV, _PREFIX, _COLD = 2.0, 2.0, 3.0, 2.0


class EndpointPicker(Peer):
    """The default profile: queue 2, KV cache 2, prefix 3. The index is sized by the engines' own number of blocks."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self.index = IndexByPod()

    def choose(self, arrival: Arrival) -> str:
        """Chance among equals."""
        pages = {address: self.page(address) for address in self.addresses}
        queues = [page.waiting for page in pages.values()]
        longest, shortest = max(queues), min(queues)
        blocks = max(1, len(arrival.prefix))
        cold = self.cold_scores(arrival)
        costs = {}
        for address, page in pages.items():
            queue = (longest - page.waiting) / (longest - shortest) if longest > shortest else 1.0
            prefix = self.index.match(arrival.prefix, address) / blocks
            score = _QUEUE * queue + _KV * (1.0 - page.kv_usage) + _PREFIX * prefix
            costs[address] = -(score + cold.get(address, 0.0))
        return self.best(costs)

    def cold_scores(self, arrival: Arrival) -> dict[str, float]:
        """For prompts that nobody holds; the default profile has none."""
        del arrival
        return {}

    def chosen(self, arrival: Arrival, address: str) -> None:
        """The prompt is recorded."""
        self.index.insert(arrival.prefix, address, self.engines[address].config.num_blocks)

    def gone(self, address: str) -> None:
        """Its entries go."""
        self.index.drop(address)


class EndpointPickerNoHitLru(EndpointPicker):
    """The default profile and the scorer that sends cold prompts to who got one longest ago, weight 2."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self._cold: OrderedDict[str, None] = OrderedDict()

    def cold_scores(self, arrival: Arrival) -> dict[str, float]:
        """Who never got one comes first."""
        if any(self.index.match(arrival.prefix, address) for address in self.addresses):
            return dict.fromkeys(self.addresses, 0.5 * _COLD)
        known = [address for address in self._cold if address in self.engines]
        ranked = [address for address in self.addresses if address not in self._cold] + known
        steps = max(1, len(ranked) - 1)
        return {address: _COLD * (1.0 - place / steps) for place, address in enumerate(ranked)}

    def chosen(self, arrival: Arrival, address: str) -> None:
        """A cold prompt makes its pod the last in turn."""
        if not any(self.index.match(arrival.prefix, each) for each in self.addresses):
            self._cold[address] = None
            self._cold.move_to_end(address)
        super().chosen(arrival, address)

    def gone(self, address: str) -> None:
        """Its turn goes, too."""
        super().gone(address)
        self._cold.pop(address, None)
