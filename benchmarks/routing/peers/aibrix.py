"""AIBrix's `prefix-cache`, `prefix-cache-preble` and `least-latency`, with the parameters of its manifests.

Open requests are shared by its replicas through Redis; the index of prompts is each replica's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from statistics import mean, stdev
from typing import TYPE_CHECKING

from benchmarks.routing.peers.peer import Peer
from benchmarks.routing.peers.prompt_index import CommonIndex
from benchmarks.routing.workloads import BLOCK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.workloads import Arrival

_IMBALANCE = 16
_DEVIATIONS = 2
# 200,000 blocks of 128 bytes, four bytes a token.
_INDEX_BLOCKS = 200_000 * 32 // BLOCK_TOKENS
_WINDOW_SECONDS = 180.0
_DECODE_SECONDS = 45 * 0.15


class _Aibrix(Peer):
    shares_counts = True

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self.index = CommonIndex(_INDEX_BLOCKS)

    def balanced(self) -> list[str]:
        """All pods, or the idlest when some other has many more requests."""
        loads = [self.counts[address] for address in self.addresses]
        if max(loads) - min(loads) <= _IMBALANCE:
            return self.addresses
        return [address for address, load in zip(self.addresses, loads, strict=True) if load == min(loads)]

    def chosen(self, arrival: Arrival, address: str) -> None:
        """The prompt is recorded."""
        self.index.insert(arrival.prefix, address)


class AibrixPrefixCache(_Aibrix):
    """The longest match among pods that are not far above the mean of requests; else the fewest requests."""

    def choose(self, arrival: Arrival) -> str:
        """By match in whole percents, then load, then chance."""
        matched = self.index.matches(arrival.prefix, self.balanced())
        loads = [self.counts[address] for address in self.addresses]
        bound = mean(loads) + _DEVIATIONS * (stdev(loads) if len(loads) > 1 else 0.0)
        total = max(1, len(arrival.prefix))
        ranked = sorted(
            (-(100 * count // total), self.counts[address], self.random.random(), address)
            for address, count in matched.items()
        )
        for _, load, _, address in ranked:
            if load <= bound:
                return address
        return self.least_request()


class AibrixPreble(_Aibrix):
    """More than half matched: the pod with the least traffic among holders; else the least work of three minutes.

    Of its radix tree the prompts of the window are kept, each a node: a node counts 45 tokens of 0.15 s for decoding
    beside the prefill of what it did not find, by the fits for a V100.
    """

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        super().__init__(clock, seed)
        self._window: deque[tuple[float, str, float]] = deque()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._requests: Counter[str] = Counter()

    def choose(self, arrival: Arrival) -> str:
        """By two rules."""
        self._forget()
        among = self.balanced()
        matched, holders = self.index.longest(arrival.prefix, among)
        if 2 * matched > len(arrival.prefix):
            return self.best({address: self._requests[address] for address in sorted(holders)})
        return self.best({address: self._seconds[address] for address in among})

    def chosen(self, arrival: Arrival, address: str) -> None:
        """Counted for three minutes."""
        matched = self.index.matches(arrival.prefix, (address,)).get(address, 0)
        missed = 1.0 - matched / max(1, len(arrival.prefix))
        seconds = missed * prefill_seconds(missed * arrival.prompt_tokens, arrival.prompt_tokens) + _DECODE_SECONDS
        self._window.append((self.clock(), address, seconds))
        self._seconds[address] += seconds
        self._requests[address] += 1
        super().chosen(arrival, address)

    def _forget(self) -> None:
        while self._window and self._window[0][0] < self.clock() - _WINDOW_SECONDS:
            _, address, seconds = self._window.popleft()
            self._seconds[address] -= seconds
            self._requests[address] -= 1


def prefill_seconds(tokens: float, context_tokens: float) -> float:
    """AIBrix's fits of a 7B model on a V100."""
    linear = 55.0 if tokens < 192 else -295 + 3.125 * tokens - 0.0064 * tokens**2
    if tokens >= 384:
        linear = 0.27106428 * tokens + 10.524
    attention = 0.80 if context_tokens <= 1024 else 4.65e-4 * context_tokens + 0.398
    quadratic = 0.0 if tokens < 4096 else -18.425 + 9.65e-3 * tokens + 5.4e-6 * tokens**2
    return (linear + attention + quadratic) / 0.9 / 1000.0


class AibrixLeastLatency(_Aibrix):
    """The lowest mean time of prefill and decoding since each engine began; chance while no engine has finished any."""

    def choose(self, arrival: Arrival) -> str:
        """What waits now is not seen."""
        del arrival
        means: dict[str, float] = {}
        for address in self.addresses:
            counters = self.engines[address].counters
            prefill, decode = counters.request_prefill_time_seconds, counters.request_decode_time_seconds
            if finished := prefill.count:
                means[address] = (prefill.sum + decode.sum) / finished
        if not means:
            return self.random.choice(self.addresses)
        return self.best(means)
