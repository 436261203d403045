"""How many requests at once a pod sustains with its first tokens in time.

    sustained = min(what fits, highest load below the lowest one at which tokens were late)

`fits` is what the KV cache holds: requests in flight / usage, while usage says something; later requests would wait.
Where engines do not tell, it is the highest load that was in time, and a quarter more, so that it can be found out.
Every look puts its first tokens, and those that were late, into the bucket of the load that led to them: the most that
any pod had in flight within the last `LAG_SECONDS`, since late tokens come from the busiest pod, and later. Old looks
fade, as models, prompts and engines change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from orchestration.scaling.sliding_window import SlidingWindow

LATE_SHARE = 0.05
LAG_SECONDS = 20.0
_FADING_SECONDS = 1800.0
_PER_DOUBLING = 4
_MOST = 4096.0
"""Requests at once on one pod; engines take 1,024 by default."""
_ENOUGH = 20.0
"""First tokens in a bucket, before it says anything."""
_PROBE = 1.25
_LEAST_USAGE = 0.1
"""Of the KV cache, before it is believed what it tells of a full one."""
_FIT_MEMORY = 24.0
"""Looks over which `fits` is averaged: two minutes."""


@dataclass(slots=True)
class _Bucket:
    first_tokens: float = 0.0
    late: float = 0.0


@dataclass(slots=True)
class SustainedConcurrency:
    _buckets: dict[int, _Bucket] = field(default_factory=dict)
    _loads: SlidingWindow = field(default_factory=lambda: SlidingWindow(LAG_SECONDS))
    _fits: float | None = None
    _at: float | None = None

    def load(self, at_seconds: float, busiest: int, in_flight: int, kv_usage: float | None, ready: int) -> None:
        """`kv_usage`: the mean of ready pods, 0 to 1."""
        self._loads.add(at_seconds, busiest)
        if kv_usage is None or not ready or not _LEAST_USAGE <= kv_usage < 1 - _LEAST_USAGE:
            return
        fits = in_flight / ready / kv_usage
        self._fits = fits if self._fits is None else self._fits + (fits - self._fits) / _FIT_MEMORY

    def told(self, at_seconds: float, first_tokens: float, late: float) -> None:
        """Since the last look."""
        self._fade(at_seconds)
        busiest = self._loads.largest(at_seconds)
        if first_tokens > 0 and busiest:
            bucket = self._buckets.setdefault(_index(busiest), _Bucket())
            bucket.first_tokens += first_tokens
            bucket.late += min(late, first_tokens)

    def per_pod(self) -> float | None:
        """None while nothing was seen that says anything."""
        in_time, too_much = self._seen()
        if self._fits is None and in_time is None:
            return None if too_much is None else too_much / 2
        fits = self._fits if self._fits is not None else (in_time or 0.0) * _PROBE
        return max(1.0, fits if too_much is None else min(fits, too_much))

    def _seen(self) -> tuple[float | None, float | None]:
        """The highest load in time, and the load just below the lowest late one."""
        best: float | None = None
        for index in sorted(self._buckets):
            bucket = self._buckets[index]
            if bucket.first_tokens < _ENOUGH:
                continue
            if bucket.late > LATE_SHARE * bucket.first_tokens:
                return best, _load(index - 1)
            best = _load(index)
        return best, None

    def _fade(self, now: float) -> None:
        factor = 1.0 if self._at is None else math.exp(-(now - self._at) / _FADING_SECONDS)
        self._at = now
        for bucket in self._buckets.values():
            bucket.first_tokens *= factor
            bucket.late *= factor


def _index(load: float) -> int:
    return round(math.log2(min(load, _MOST)) * _PER_DOUBLING)


def _load(index: int) -> float:
    return float(2.0 ** (index / _PER_DOUBLING))
