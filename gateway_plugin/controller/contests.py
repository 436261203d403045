"""Notices that someone else keeps undoing what is written here, and stops the quarrel.

More than 10 changes of one object within a minute are no correction any more: the object is then left as it is until a
minute has passed since the last of them. Who makes an object that was not wanted any more, or removes one that was not
wanted yet, undoes nobody's work: what is wanted has changed, and the count begins anew.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway_plugin.controller.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.controller.workloads import Ref

MAX_CHANGES = 10
"""Of one object by others in the window, before we give way."""
WINDOW_SECONDS = 60.0
"""In which changes are counted."""


class Contests:
    """Remembers the changes of the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changes: dict[Ref, deque[float]] = {}
        self._removed: set[Ref] = set()
        """Those whose last change was a removal."""

    def admits(self, ref: Ref) -> bool:
        """Whether the object may be changed once more."""
        return len(self._recent(ref)) < MAX_CHANGES

    def note(self, ref: Ref, *, removed: bool = False) -> None:
        """It has been changed, or removed."""
        now = self._clock()
        self._changes = {other: times for other, times in self._changes.items() if now - times[-1] < WINDOW_SECONDS}
        self._removed &= self._changes.keys()
        if removed is not (ref in self._removed):
            self._changes.pop(ref, None)
            self._removed ^= {ref}
        self._changes.setdefault(ref, deque(maxlen=MAX_CHANGES)).append(now)

    def _recent(self, ref: Ref) -> deque[float]:
        times = self._changes.get(ref, deque())
        return times if times and self._clock() - times[-1] < WINDOW_SECONDS and self._is_dense(times) else deque()

    def _is_dense(self, times: deque[float]) -> bool:
        return times[-1] - times[0] < WINDOW_SECONDS


def contested(ref: Ref) -> Finding:
    """What to tell."""
    message = f"it was changed back {MAX_CHANGES} times within a minute, and is left alone for a minute"
    return Finding(ref, "Contested", message, "find who else writes it: another controller, or a webhook")
