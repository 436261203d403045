"""Settings that change while the process runs: the configuration file is followed, and SIGHUP reads it at once.

A change is read when two looks in a row have seen it, and checked whole before anything of it holds: a file that is
wrong anywhere, or that looks like a part of one, changes nothing. Then the last good one stays, and the log, `/readyz`
and the metrics say so. What may change is applied and logged, setting by setting; what may not waits for a restart.
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
from gateway_plugin.settings.watched_file import WatchedFile, looks_cut_off, shape_of, without_comments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway_plugin.settings.loading import Loaded
    from gateway_plugin.settings.settings import Settings
    from gateway_plugin.settings.watched_file import ContentShape

logger = logging.getLogger(__name__)

Changeable: TypeAlias = "Mapping[tuple[str, ...], Callable[[Settings], None]]"
"""By the names of settings, what takes them over. It may not fail: what can be wrong was found by a check."""

LOOK_SECONDS = 1.0
"""Between two looks at the file: one stat."""


class Reloading:
    def __init__(
        self,
        loaded: Loaded,
        load: Callable[[], Loaded],
        file: Path | None,
        apply: Changeable,
        check: Callable[[Settings], None] = lambda settings: None,
    ) -> None:
        """`check` raises StartError or ValueError for settings that a start would refuse, too."""
        self.settings = loaded.settings
        self.origins = loaded.origins
        self.refused = ""
        """Why the configuration as it is now is not in effect; empty when it is."""
        self.waits_for_restart: tuple[str, ...] = ()
        """Settings that have changed, and hold from the next start on."""
        self._load = load
        self._file = file
        self._apply = apply
        self._check = check
        self._outcomes = {"ok": 0, "refused": 0}
        self._loaded_at_seconds = time.time()
        self._asked = asyncio.Event()
        self._watched = WatchedFile(file)
        self._shape = _shape_of(file)

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
        while not self._asked.is_set() and not self._watched.has_changed():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_moment(clock(), LOOK_SECONDS)):
                    await self._asked.wait()
        if self._asked.is_set():
            self._asked.clear()
            self._watched.was_read()

    def reload(self) -> None:
        """Takes over what has changed; or nothing, and says why."""
        try:
            shape = self._whole()
            loaded = self._load()
            self._check(loaded.settings)
        except (SettingsError, StartError, ValueError) as error:
            self._refuse(str(error))
            return
        changed = self._changed(loaded)
        try:
            self._take_over(changed, loaded.settings)
        except Exception as error:
            logger.exception("settings could not be taken over")
            self._refuse(f"a mistake of the plugin's: {error}")
            return
        self._shape = shape
        self._outcomes["ok"] += 1
        self.refused, self._loaded_at_seconds = "", time.time()
        self._tell(changed)
        self.settings, self.origins = loaded.settings, loaded.origins

    def _take_over(self, changed: Mapping[str, tuple[str, str]], settings: Settings) -> None:
        """All of it or, if one fails by a mistake of ours, nothing."""
        wanted = [apply for names, apply in self._apply.items() if changed.keys() & set(names)]
        for count, apply in enumerate(wanted):
            try:
                apply(settings)
            except Exception:
                for taken in wanted[:count]:
                    taken(self.settings)
                raise

    def _refuse(self, reason: str) -> None:
        self._outcomes["refused"] += 1
        self.refused = reason
        logger.error("settings not reloaded, the last good ones stay: %s", reason)

    def _whole(self) -> ContentShape | None:
        """What the file is like; raises SettingsError where it seems to be a part of what somebody meant to write."""
        now = _shape_of(self._file)
        if self._shape is not None and now is not None and (reason := looks_cut_off(self._shape, now)):
            raise SettingsError(f"config file {self._file}: half written: {reason}; if it is meant so, restart")
        return now

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


def _shape_of(file: Path | None) -> ContentShape | None:
    """None where there is no file, or it cannot be read, of which others tell."""
    try:
        return shape_of(without_comments(file.read_bytes())) if file is not None else None
    except OSError:
        return None
