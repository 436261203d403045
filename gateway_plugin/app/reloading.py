"""Settings that change while the process runs: the configuration file is followed, and SIGHUP reads it at once.

What may change is applied and logged, setting by setting. What may not is told, and waits for a restart. A file that is
wrong anywhere changes nothing: the last good one stays, and the log, `/readyz` and the metrics say so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from gateway_plugin.pods.reload_metrics import Reloads
from gateway_plugin.settings.loading import SettingsError
from gateway_plugin.settings.log_lines import fields
from gateway_plugin.settings.pacing import seconds_to_moment
from gateway_plugin.settings.shown_settings import shown_settings
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway_plugin.settings.loading import Loaded
    from gateway_plugin.settings.settings import Settings

logger = logging.getLogger(__name__)

Changeable: TypeAlias = "Mapping[tuple[str, ...], Callable[[Settings], None]]"
"""By the names of settings, what takes them over; what may be wrong comes first, and raises."""

LOOK_SECONDS = 1.0
"""Between two looks at the file: one stat."""


class Reloading:
    def __init__(
        self,
        loaded: Loaded,
        load: Callable[[], Loaded],
        file: Path | None,
        apply: Changeable,
    ) -> None:
        self.settings = loaded.settings
        self.origins = loaded.origins
        self.refused = ""
        """Why the configuration as it is now is not in effect; empty when it is."""
        self.waits_for_restart: tuple[str, ...] = ()
        """Settings that have changed, and hold from the next start on."""
        self._load = load
        self._file = file
        self._apply = apply
        self._outcomes = {"ok": 0, "refused": 0}
        self._loaded_at_seconds = time.time()
        self._asked = asyncio.Event()
        self._version = _version_of(file)

    def ask(self) -> None:
        """Read it now, as SIGHUP wants."""
        self._asked.set()

    def reloads(self) -> Reloads:
        """For metrics."""
        return Reloads(self._outcomes, self._loaded_at_seconds, self.refused)

    async def run(self) -> None:
        """Follows the file until cancelled."""
        while True:
            await self._next_reason()
            self.reload()

    async def _next_reason(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._asked.is_set() and _version_of(self._file) == self._version:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_moment(clock(), LOOK_SECONDS)):
                    await self._asked.wait()
        self._asked.clear()
        self._version = _version_of(self._file)

    def reload(self) -> None:
        """Takes over what has changed; or nothing, and says why."""
        try:
            loaded = self._load()
            changed = self._changed(loaded)
            for names, apply in self._apply.items():
                if changed.keys() & set(names):
                    apply(loaded.settings)
        except (SettingsError, StartError, ValueError) as error:
            self._outcomes["refused"] += 1
            self.refused = str(error)
            logger.error("settings not reloaded, the last good ones stay: %s", self.refused)
            return
        self._outcomes["ok"] += 1
        self.refused, self._loaded_at_seconds = "", time.time()
        self._tell(changed)
        self.settings, self.origins = loaded.settings, loaded.origins

    def _changed(self, loaded: Loaded) -> dict[str, tuple[str, str]]:
        before, now = shown_settings(self.settings, {}), shown_settings(loaded.settings, {})
        return {name: (before[name][0], now[name][0]) for name in now if before[name][0] != now[name][0]}

    def _tell(self, changed: Mapping[str, tuple[str, str]]) -> None:
        known = {name for names in self._apply for name in names}
        for name, (before, now) in changed.items():
            said = fields(setting=name, before=before, now=now)
            if name in known:
                # Whatever the level is now: who looks for what changed must find it.
                logger.warning("a setting has changed", extra=said)
            else:
                logger.warning("a setting has changed, and holds from the next start on", extra=said)
        waiting = {name: before for name, (before, _) in changed.items() if name not in known}
        self.waits_for_restart = tuple(dict.fromkeys((*self.waits_for_restart, *waiting)))
        if not changed:
            logger.info("settings read again; nothing has changed")


def _version_of(file: Path | None) -> tuple[int, int, int]:
    if file is None:
        return (0, 0, 0)
    try:
        status = file.stat()
    except OSError:
        return (-1, -1, -1)
    return status.st_mtime_ns, status.st_size, status.st_ino
