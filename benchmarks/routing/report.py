"""What came of a workload: waiting times, cache hits, and how evenly the pods worked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.routing.workloads import Arrival


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered, and by whom. Seconds count from its arrival."""

    arrival: Arrival
    address: str
    ttft_seconds: float
    duration_seconds: float
    cached_tokens: int

    @property
    def computed_tokens(self) -> int:
        """Of the prompt, what was not cached."""
        return self.arrival.prompt_tokens - self.cached_tokens

    @property
    def tpot_seconds(self) -> float | None:
        """Mean time per token after the first; None when there was but one."""
        later = self.arrival.output_tokens - 1
        return (self.duration_seconds - self.ttft_seconds) / later if later > 0 else None


@dataclass(frozen=True, slots=True)
class Times:
    """A distribution of seconds; NaN when nothing was served."""

    mean: float
    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Times:
        """Mean and quantiles."""
        values = np.array([*seconds] or [np.nan])
        return cls(float(values.mean()), float(np.quantile(values, 0.5)), float(np.quantile(values, 0.99)))


@dataclass(frozen=True, repr=False)
class Report:
    """`refused` found no pod, or one that cannot hold them; `failed` lost theirs on the way."""

    addresses: tuple[str, ...]
    served: tuple[Served, ...]
    refused: int
    failed: int

    @cached_property
    def ttft(self) -> Times:
        """Time to first token."""
        return Times.of(each.ttft_seconds for each in self.served)

    @cached_property
    def duration(self) -> Times:
        """From arrival to the last token."""
        return Times.of(each.duration_seconds for each in self.served)

    @property
    def token_hit_ratio(self) -> float:
        """Share of all prompt tokens that came from a cache."""
        prompt_tokens = sum(each.arrival.prompt_tokens for each in self.served)
        return sum(each.cached_tokens for each in self.served) / prompt_tokens if prompt_tokens else 0.0

    @property
    def requests_by_pod(self) -> dict[str, int]:
        """Served requests of each pod, also of those that served none."""
        served = Counter(each.address for each in self.served)
        return {address: served[address] for address in self.addresses}

    @property
    def request_skew(self) -> float:
        """Requests of the busiest pod, over the mean."""
        return _skew(self.requests_by_pod)

    @property
    def prefill_skew(self) -> float:
        """Computed prompt tokens of the busiest pod, over the mean."""
        computed = dict.fromkeys(self.addresses, 0)
        for each in self.served:
            computed[each.address] += each.computed_tokens
        return _skew(computed)

    @property
    def ttft_by_user(self) -> dict[str, Times]:
        """Time to first token of each user."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for each in self.served:
            seconds[each.arrival.user].append(each.ttft_seconds)
        return {user: Times.of(values) for user, values in seconds.items()}

    def __repr__(self) -> str:
        return (
            f"<Report {len(self.served)} served, {self.refused} refused, {self.failed} failed,"
            f" hits {self.token_hit_ratio:.3f}, skew {self.request_skew:.2f}, TTFT {self.ttft.mean:.3f} s>"
        )


def _skew(by_pod: dict[str, int]) -> float:
    total = sum(by_pod.values())
    return max(by_pod.values()) * len(by_pod) / total if total else 1.0
