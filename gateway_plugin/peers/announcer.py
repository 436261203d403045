"""When to tell other replicas of the own work: on change, at most every 0.2 s, and again before they forget it.

What has not changed is repeated every 0.4 s, because others take a silent replica for a dead one. A model without work
is taken back once, and costs nothing from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.peers.wire import report_bytes
from routing.pods.elsewhere import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from routing.pods.pod_work import PodWork

    Work = Mapping[str, tuple[PodWork, ...]]

INTERVAL_SECONDS = 0.2
"""Between two words of what is in flight."""
REPEAT_SECONDS = 0.4
"""The same again, so that who came later knows."""


@dataclass(frozen=True, slots=True)
class _Told:
    work: tuple[PodWork, ...] | None
    """None: not known, because the last writing failed."""
    at_seconds: float


class Announcer:
    """Knows what it has told. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._sequence = 0
        self._told_at = -INTERVAL_SECONDS

    def ready(self) -> bool:
        """Whether enough time has passed since the last writing."""
        return self._clock() - self._told_at >= INTERVAL_SECONDS

    def writes(self, work: Work) -> dict[str, bytes | None]:
        """What to write now, by model; None takes back. `wrote` or `failed` must follow."""
        gone = [model for model in self._told if model not in work]
        news = {model: pods for model, pods in work.items() if self._is_due(model, pods)}
        if not gone and not news:
            return {}
        self._sequence += 1
        self._told_at = now = self._clock()
        self._told |= {model: _Told(pods, now) for model, pods in news.items()}
        reports = {model: report_bytes(Report(self._sequence, pods)) for model, pods in news.items()}
        return reports | dict.fromkeys(gone)

    def wrote(self, writes: Mapping[str, bytes | None]) -> None:
        """All of it has arrived."""
        for model, value in writes.items():
            if value is None:
                del self._told[model]

    def failed(self, writes: Mapping[str, bytes | None]) -> None:
        """Nobody knows what of it has arrived: all of it must be said again."""
        self._told |= {model: _Told(None, self._told_at) for model in writes}

    def told(self) -> list[str]:
        """The models under which others may find something of this replica."""
        return list(self._told)

    def _is_due(self, model: str, pods: tuple[PodWork, ...]) -> bool:
        told = self._told.get(model)
        return told is None or told.work != pods or self._clock() - told.at_seconds >= REPEAT_SECONDS
