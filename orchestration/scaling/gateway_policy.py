"""A size from what the gateway knows exactly: who comes, what is in flight and held, how late first tokens were.

    by rate      arrivals ahead * service seconds / (sustained * utilisation) + stuck
    by presence  (held + min(in flight, ready * sustained)) * growth / (sustained * utilisation)
    need         max(both);  grow to ceil(need + reserve), shrink to ceil((largest need lately + reserve) * 1.15)

`arrivals ahead` and `growth` look one start-up time ahead (`arrival_rate.py`), `reserve` is what rises within one have
needed lately (`shortfall.py`), `sustained` the requests at once that a pod serves in time (`sustained.py`). `stuck` are
pods whose engines have a queue: what comes now must go elsewhere, and what is queued cannot. `lately` is a start-up
time: who lets a pod go that is needed sooner pays its start without having it. Degrades to the present size while
nothing is known. Source: Little's law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from orchestration.scaling.arrival_rate import ArrivalRate
from orchestration.scaling.samples import Recommendation, Why
from orchestration.scaling.shortfall import Shortfall
from orchestration.scaling.sliding_window import SlidingWindow
from orchestration.scaling.sustained import SustainedConcurrency

TARGET_SECONDS = 3.0
"""A first token that takes longer is late, where nobody says otherwise."""
_SHORTEST_HOLD_SECONDS = 30.0
_CALM_SECONDS = 300.0
"""After its start nothing shrinks: what is needed was not seen yet. As long as Kubernetes' HPA remembers."""
_SLACK = 1.15
"""A pod goes only when the rest has so much more than is needed, or noise would start and stop pods."""
_MEMORY_OF_SERVICE = 200.0
"""Requests over which the service time is averaged."""


@dataclass(frozen=True, slots=True)
class GatewayView:
    """Of one model over all replicas of the gateway; totals only grow."""

    at_seconds: float
    replicas: int
    ready: int
    in_flight: int
    busiest: int
    """In flight on the pod that has most."""
    held: int
    kv_usage: float | None
    """Mean of ready pods, 0 to 1; None where engines do not tell."""
    arrived_total: float
    first_tokens_total: float
    late_total: float
    """First tokens that came after their target."""
    first_token_seconds_total: float
    decoded_total: float
    """Requests that ended, and of which it is known how long they took after their first token."""
    decode_seconds_total: float


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    utilisation: float = 0.85
    """Of what pods sustain; lower is dearer and in time more often."""
    ready_for: float = 0.9
    """The share of the time in which a rise within a start-up time finds enough pods; 0 keeps no reserve."""


@dataclass(slots=True)
class GatewayPolicy:
    options: GatewayOptions = field(default_factory=GatewayOptions)
    _arrivals: ArrivalRate = field(default_factory=ArrivalRate)
    _sustained: SustainedConcurrency = field(default_factory=SustainedConcurrency)
    _shortfall: Shortfall = field(default_factory=Shortfall)
    _needs: SlidingWindow = field(default_factory=lambda: SlidingWindow(3600.0))
    _before: GatewayView | None = None
    _started_at: float = 0.0
    _service: _Mean = field(init=False)
    _first_token: _Mean = field(init=False)

    def __post_init__(self) -> None:
        self._service, self._first_token = _Mean(), _Mean()

    def recommend(self, seen: GatewayView, start_seconds: float) -> Recommendation:
        """`start_seconds`: from asking for a pod to its first answer, learned (`start_times.py`)."""
        self._learn(seen)
        need = self._need(seen, start_seconds)
        if need is None:
            return self._unlearned(seen)
        self._shortfall.observe(seen.at_seconds, need)
        self._needs.add(seen.at_seconds, need)
        reserve = self._shortfall.reserve(start_seconds, self.options.ready_for) if self.options.ready_for else 0.0
        wanted = self._sized(seen, need, reserve, max(start_seconds, _SHORTEST_HOLD_SECONDS))
        if wanted == seen.replicas:
            return Recommendation(wanted, Why.WITHIN_TOLERANCE)
        return Recommendation(wanted, Why.ABOVE if wanted > seen.replicas else Why.BELOW)

    def _learn(self, seen: GatewayView) -> None:
        self._arrivals.observe(seen.at_seconds, seen.arrived_total)
        self._sustained.load(seen.at_seconds, seen.busiest, seen.in_flight, seen.kv_usage, seen.ready)
        before, self._before = self._before, seen
        if before is None:
            self._started_at = seen.at_seconds
            return
        first_tokens = seen.first_tokens_total - before.first_tokens_total
        late = seen.late_total - before.late_total
        self._sustained.told(seen.at_seconds, first_tokens, late)
        if first_tokens and not late:
            seconds = seen.first_token_seconds_total - before.first_token_seconds_total
            self._first_token.add(seconds / first_tokens, first_tokens)
        if decoded := seen.decoded_total - before.decoded_total:
            self._service.add((seen.decode_seconds_total - before.decode_seconds_total) / decoded, decoded)

    def _need(self, seen: GatewayView, start_seconds: float) -> float | None:
        sustained = self._sustained.per_pod()
        if sustained is None:
            return None
        a_pod = sustained * self.options.utilisation
        by_rate = 0.0
        if self._service.value is not None:
            service_seconds = self._service.value + (self._first_token.value or 0.0)
            by_rate = self._arrivals.ahead(start_seconds) * service_seconds / a_pod
        present = seen.held + min(seen.in_flight, seen.ready * sustained)
        stuck = min(max(0.0, seen.in_flight / sustained - seen.ready), float(seen.ready))
        return max(by_rate + stuck, present * self._arrivals.growth(start_seconds) / a_pod)

    def _sized(self, seen: GatewayView, need: float, reserve: float, hold_seconds: float) -> int:
        grown = math.ceil(round(need + reserve, 6))
        if grown >= seen.replicas:
            return grown
        if seen.at_seconds - self._started_at < _CALM_SECONDS:
            return seen.replicas
        largest = max(value for _, value in self._needs.since(seen.at_seconds - hold_seconds))
        return min(seen.replicas, math.ceil(round((largest + reserve) * _SLACK, 6)))

    def _unlearned(self, seen: GatewayView) -> Recommendation:
        if seen.held:
            return Recommendation(max(seen.replicas, 1), Why.ACTIVATION)
        return Recommendation(seen.replicas, Why.NO_METRICS)


@dataclass(slots=True)
class _Mean:
    """The later count more: of the last couple of hundred."""

    value: float | None = None

    def add(self, value: float, weight: float) -> None:
        share = 1 - math.exp(-weight / _MEMORY_OF_SERVICE)
        self.value = value if self.value is None else self.value + share * (value - self.value)
