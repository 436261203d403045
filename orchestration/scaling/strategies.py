"""The formulas by the names that users give them, in one form: what is seen goes in, a recommendation comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from orchestration.scaling.annotations import Asked, apa_options, kpa_options
from orchestration.scaling.apa import Apa
from orchestration.scaling.behavior import Behavior, Direction
from orchestration.scaling.go_durations import seconds_of
from orchestration.scaling.hpa import Hpa
from orchestration.scaling.kpa import Kpa

if TYPE_CHECKING:
    from orchestration.scaling.samples import Observation, Recommendation

StrategyName = Literal["HPA", "KPA", "APA", "GATEWAY"]


class Strategy(Protocol):
    """One formula for one metric; remembers its windows."""

    def recommend(self, seen: Observation) -> Recommendation: ...


def strategy(
    name: StrategyName,
    target: float,
    wanted: Asked,
    stable_seconds: float | None = None,
    panic_seconds: float | None = None,
) -> Strategy:
    """ValueError when an annotation cannot be read, with its key."""
    if name == "KPA":
        return Kpa(target, kpa_options(wanted, stable_seconds, panic_seconds))
    if name == "APA":
        return Apa(target, apa_options(wanted))
    return Hpa(target)


_UNBOUNDED = Behavior(up=Direction(0.0), down=Direction(0.0))


def behavior_of(name: StrategyName, wanted: Asked) -> Behavior:
    """How fast a strategy's size may change where `spec.behavior` says nothing.

    HPA's is that of Kubernetes; KPA and APA bound their own steps, so they have stabilisation only, and KPA its own
    delay.
    """
    if name == "HPA":
        return Behavior()
    if name == "GATEWAY":
        return _UNBOUNDED  # the policy holds sizes itself, for as long as pods need to start
    up, down = (wanted.values.get(key) for key in ("up_delay", "down_delay"))
    if name == "KPA":
        return Behavior(Direction(seconds_of(up)), _UNBOUNDED.down) if up else _UNBOUNDED
    return Behavior(Direction(seconds_of(up) if up else 0.0), Direction(seconds_of(down) if down else 300.0))
