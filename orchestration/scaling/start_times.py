"""How long a pod takes from being asked for to being ready: learned, of the last ones that came.

The answer is the median of the last 20: one that waited an hour for a node says nothing of the next. While none is
known it is a minute, which is about what a small model needs from a warm disk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from statistics import median

UNKNOWN_SECONDS = 60.0
_MOST = 20
_LONGEST_SECONDS = 3600.0


@dataclass(slots=True)
class StartTimes:
    _seconds: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def took(self, pod: str, seconds: float) -> None:
        """Once or more for the same pod: it counts once."""
        if pod not in self._seconds and 0 <= seconds <= _LONGEST_SECONDS:
            self._seconds[pod] = seconds
            while len(self._seconds) > _MOST:
                self._seconds.popitem(last=False)

    def seconds(self) -> float:
        return median(self._seconds.values()) if self._seconds else UNKNOWN_SECONDS
