"""Work on single objects that fails in a way nobody foresaw: counted, told once, tried again ever more rarely.

One object that its controller cannot bear must not keep the others from being looked at, nor end the process: the next
one would meet the same object. An API server that does not answer is everybody's trouble, and is passed on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gateway_plugin.controller.route_client import KubeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_SECONDS = 5.0
"""Doubles with each failure in a row."""
LAST_PAUSE_SECONDS = 300.0
"""Whoever mends the object waits no longer than this."""
_MAX_DOUBLINGS = 10
"""More are beyond the last pause anyway."""


@dataclass(slots=True)
class _Trouble:
    failures: int
    until_seconds: float


class FailingObjects:
    """`what` names the objects in the log: "autoscaler". Holds no more than the objects that fail now."""

    def __init__(self, what: str, clock: Callable[[], float]) -> None:
        self._what, self._clock = what, clock
        self._troubles: dict[str, _Trouble] = {}
        self.total = 0
        """Failures so far."""

    def __len__(self) -> int:
        return len(self._troubles)

    def admits(self, name: str) -> bool:
        """Whether its pause is over."""
        trouble = self._troubles.get(name)
        return trouble is None or self._clock() >= trouble.until_seconds

    async def attempt(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """The result; None where it is left alone, or failed. KubeError where the API server does not answer."""
        if not self.admits(name):
            return None
        try:
            return await work()
        except KubeError as error:
            if not error.code:
                raise
            self._failed(name, error, foreseen=True)
        except Exception as error:  # noqa: BLE001 - the others are to go on, whatever this one does
            self._failed(name, error, foreseen=False)
        return None

    def succeeded(self, name: str) -> None:
        """All work on it was done."""
        if self._troubles.pop(name, None) is not None:
            logger.info("%s %s: it works again", self._what, name)

    def keep(self, names: Collection[str]) -> None:
        """Forgets those that are gone."""
        for name in self._troubles.keys() - set(names):
            del self._troubles[name]

    def _failed(self, name: str, error: Exception, *, foreseen: bool) -> None:
        self.total += 1
        failures = self._troubles[name].failures + 1 if name in self._troubles else 1
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), LAST_PAUSE_SECONDS)
        self._troubles[name] = _Trouble(failures, self._clock() + pause_seconds)
        level = logging.WARNING if failures == 1 else logging.DEBUG
        words = f"{type(error).__name__}: {error}"
        text = "%s %s failed, the others go on: %s; next try in %.0f s"
        logger.log(level, text, self._what, name, words, pause_seconds, exc_info=None if foreseen else error)
