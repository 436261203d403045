"""Log lines about what may go wrong for every request: one a minute of each kind, which counts those left out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

_SECONDS = 60.0
"""Between two lines about one kind."""
_MAX_KINDS = 100
"""Whose last line is remembered."""


class RareLog:
    """`clock` is monotonic. Kinds are words of ours, and few; more than a hundred share one."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def error(self, kind: str, message: str, *args: object, error: BaseException | None = None) -> None:
        """As `Logger.error`, with the traceback of `error` when there is one."""
        if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
            kind = ""
        said_at, left_out = self._kinds.get(kind, (float("-inf"), 0))
        now = self._clock()
        if now - said_at < _SECONDS:
            self._kinds[kind] = (said_at, left_out + 1)
            return
        self._kinds[kind] = (now, 0)
        if left_out:
            message, args = f"{message} (and %d more since it was said last)", (*args, left_out)
        self._logger.error(message, *args, exc_info=error)
