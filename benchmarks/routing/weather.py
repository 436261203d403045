"""What happens to pods while requests come: one slows down, some go, others come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.routing.fleets import fleet

if TYPE_CHECKING:
    from benchmarks.routing.cluster import Cluster
    from simulator import EngineConfig


@dataclass(frozen=True, slots=True)
class Weather:
    """At a time, one thing: a pod's new slowness, its drain, or a new pod. Pods are counted from 0 as they came."""

    at_seconds: float
    pod: int = 0
    slowness: float = 0.0
    drains: bool = False
    comes: EngineConfig | None = None

    def befall(self, cluster: Cluster) -> None:
        """Now."""
        if self.comes is not None:
            cluster.add(self.comes)
        elif self.drains:
            cluster.drain(cluster.address(self.pod))
        else:
            cluster.slow(cluster.address(self.pod), self.slowness)


def slows_down(seconds: float) -> tuple[Weather, ...]:
    """The third pod, to a quarter of its speed, in the middle third."""
    return Weather(seconds / 3, pod=2, slowness=4.0), Weather(2 * seconds / 3, pod=2, slowness=1.0)


def pods_come_and_go(seconds: float) -> tuple[Weather, ...]:
    """Two go at a quarter, four come at half, two go at three quarters: 6, 10 and 8 pods."""
    new = fleet("default", 4)
    return (
        *(Weather(0.25 * seconds, pod=number, drains=True) for number in (0, 1)),
        *(Weather(0.5 * seconds, comes=config) for config in new),
        *(Weather(0.75 * seconds, pod=number, drains=True) for number in (2, 3)),
    )
