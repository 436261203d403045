"""Other autoscalers, each deployed as its own documentation has it; its target is what is swept.

    HPA           Kubernetes' formula on KV cache usage, every 15 s, with its default behaviour
    KPA           Knative's on requests in flight, every 2 s, with Knative's windows and rates
    KPA (AIBrix)  that of AIBrix v0.7 on KV cache usage: the mean of a pod where Knative has the total
    APA           AIBrix's on KV cache usage, every 10 s
    KEDA          queue length, as its Prometheus scaler makes an HPA of it: requests that wait in engines / target
    KEDA (all)    the same of requests that wait or run

The formulas of HPA, KPA and APA are the product's own, which tests compare with plain transcriptions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.scaling.annotations import Asked
from orchestration.scaling.apa import Apa
from orchestration.scaling.autoscaler import Autoscaler
from orchestration.scaling.behavior import Behavior, Direction
from orchestration.scaling.hpa import Hpa
from orchestration.scaling.kpa import Kpa, KpaOptions
from orchestration.scaling.samples import Observation, PodSample, Recommendation, Why
from orchestration.scaling.schedules import SizeBounds
from orchestration.scaling.sliding_window import SlidingWindow
from orchestration.scaling.strategies import behavior_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.scaling.fleet import Fleet, Pod, Scaler
    from orchestration.scaling.strategies import Strategy

_NOTHING_ASKED = Asked({}, (), ())
_UNBOUNDED = Behavior(up=Direction(0.0), down=Direction(0.0))


def _usage(pod: Pod) -> float:
    return pod.engine.cache.usage


def _in_flight(pod: Pod) -> float:
    return float(pod.in_flight)


@dataclass(slots=True)
class Product:
    """A formula of the product on one metric of pods."""

    strategy: Strategy
    behavior: Behavior
    tick_seconds: float
    value: Callable[[Pod], float]
    spares_busy_pods: bool = False
    _autoscaler: Autoscaler = field(init=False)

    def __post_init__(self) -> None:
        self._autoscaler = Autoscaler([self.strategy], self.behavior)

    def size(self, fleet: Fleet) -> int:
        pods = tuple(PodSample(pod.ready, self.value(pod) if pod.ready else None) for pod in fleet.staying)
        seen = Observation(fleet.now, len(pods), pods)
        after = self._autoscaler.decide([seen], SizeBounds(1, fleet.most)).replicas
        if after != len(pods):
            self._autoscaler.changed(fleet.now, len(pods), after)
        return after


def hpa(target: float) -> Scaler:
    return Product(Hpa(target), Behavior(), 15.0, _usage)


def knative(target: float) -> Scaler:
    options = KpaOptions(panic_window_seconds=6.0, max_up_rate=1000.0)
    return Product(Kpa(target, options), _UNBOUNDED, 2.0, _in_flight)


def apa(target: float) -> Scaler:
    return Product(Apa(target), behavior_of("APA", _NOTHING_ASKED), 10.0, _usage)


@dataclass(slots=True)
class AibrixKpa:
    """Means of pods over 180 and 60 s; `ceil(mean / target)` pods; shrinks to the least of 300 s, half at a time."""

    target: float
    tick_seconds: float = 10.0
    spares_busy_pods: bool = False
    _means: SlidingWindow = field(default_factory=lambda: SlidingWindow(180.0))
    _wanted: SlidingWindow = field(default_factory=lambda: SlidingWindow(300.0))

    def size(self, fleet: Fleet) -> int:
        pods = fleet.staying
        self._means.add(fleet.now, sum(map(_usage, pods)) / len(pods))
        stable, panic = self._means.mean(fleet.now) or 0.0, self._means.mean(fleet.now, 60.0) or 0.0
        mean = panic if stable <= 0 or panic / stable > 2.0 else stable
        wanted = len(pods) if abs(mean / self.target - 1) <= 0.1 else math.ceil(mean / self.target)
        wanted = min(max(wanted, len(pods) // 2), 2 * len(pods))
        self._wanted.add(fleet.now, wanted)
        return wanted if wanted >= len(pods) else int(self._wanted.smallest(fleet.now) or wanted)


@dataclass(slots=True)
class QueueLength:
    """An HPA with an external metric and AverageValue: `ceil(total / target)`, a tenth of tolerance."""

    target: float

    def recommend(self, seen: Observation) -> Recommendation:
        total = sum(seen.known)
        if abs(total / (self.target * seen.replicas) - 1) <= 0.1:
            return Recommendation(seen.replicas, Why.WITHIN_TOLERANCE)
        wanted = math.ceil(total / self.target)
        return Recommendation(wanted, Why.ABOVE if wanted > seen.replicas else Why.BELOW)


def keda_waiting(target: float) -> Scaler:
    return Product(QueueLength(target), Behavior(), 15.0, lambda pod: float(pod.waiting))


def keda_all(target: float) -> Scaler:
    return Product(QueueLength(target), Behavior(), 15.0, _in_flight)
