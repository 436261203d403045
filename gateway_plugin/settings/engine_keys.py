"""Keys that engines want for themselves: the gateway sets them upstream, in place of whatever the client sent.

A file maps models to keys; for all others there is one default. Keys are secrets: no error and no repr tells them.
Keys are renewed while requests run, so the file is looked at once a second: one stat, through symbolic links, which
notices the swap of a mounted Secret.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING

from gateway_plugin.settings import plain_yaml
from gateway_plugin.settings.watched_file import WatchedFile, looks_cut_off, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway_plugin.settings.watched_file import ContentShape

# What a header may hold.
_KEY = re.compile(r"[!-~]{1,4096}")
_LOOK_SECONDS = 1.0
"""Between two looks at the file's date."""

logger = logging.getLogger(__name__)


class EngineKeysError(ValueError):
    """The keys cannot be used; the text names the file and the model, and no key."""


class EngineKeys:
    """By model; empty: the engine wants none, and the client's own credentials go on. Where there is a file, engines
    are taken to want keys whatever it says now, and `run` follows it."""

    def __init__(
        self, default: str = "", by_model: Mapping[str, str] | None = None, *, file: Path | None = None
    ) -> None:
        self._default = default
        self._by_model = dict(by_model or {})
        self.refused = ""
        """Why the file as it is now is not taken over; empty when it is."""
        self.reloads = {"ok": 0, "refused": 0}
        """Since the start."""
        self.loaded_at_seconds = time.time()
        """When what holds was read, since 1970."""
        self._file = file
        self._shape: ContentShape | None = None

    def __bool__(self) -> bool:
        return bool(self._default or self._by_model or self._file)

    def __repr__(self) -> str:
        return f"EngineKeys({len(self._by_model)} models, {'a' if self._default else 'no'} default)"

    def expect(self, shape: ContentShape) -> None:
        """What the file was like when it was good."""
        self._shape = shape

    def of(self, model: str) -> str:
        """The key of a model's engines."""
        return self._by_model.get(model, self._default)

    async def run(self) -> None:
        """Follows the file until cancelled; a bad one is logged, and the last good keys stay."""
        watched = WatchedFile(self._file)
        while self._file is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            if watched.has_changed():
                self._reload(self._file)

    def _reload(self, file: Path) -> None:
        try:
            self._by_model, self._shape = _read(file, self._shape)
        except EngineKeysError as error:
            self.reloads["refused"] += 1
            self.refused = str(error)
            logger.error("engine keys not reloaded, the last good ones stay: %s", error)
        else:
            self.reloads["ok"] += 1
            self.refused, self.loaded_at_seconds = "", time.time()
            logger.info("%s: keys of %d models", file, len(self._by_model))

    @property
    def follows_a_file(self) -> bool:
        """Whether there is a file that may be refused."""
        return self._file is not None


def read_engine_keys(default: str, file: Path | None) -> EngineKeys:
    """Raises EngineKeysError."""
    if default and not _KEY.fullmatch(default):
        raise EngineKeysError("engines.api_key: must be printable ASCII without spaces")
    if file is None:
        return EngineKeys(default)
    by_model, shape = _read(file, None)
    keys = EngineKeys(default, by_model, file=file)
    keys.expect(shape)
    return keys


def _read(file: Path, before: ContentShape | None) -> tuple[dict[str, str], ContentShape]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EngineKeysError(f"engines.api_keys_file {file}: {error.strerror}") from None
    now = shape_of(data)
    if before is not None and (reason := looks_cut_off(before, now)):
        raise EngineKeysError(f"engines.api_keys_file {file}: half written: {reason}")
    try:
        content = plain_yaml.load(data)
    except ValueError:
        raise EngineKeysError(f"engines.api_keys_file {file}: not YAML") from None
    if not isinstance(content, dict):
        raise EngineKeysError(f"engines.api_keys_file {file}: must map models to keys")
    for model, key in content.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise EngineKeysError(f"engines.api_keys_file {file}: the key of {model} must be text without spaces")
    return {str(model): key for model, key in content.items()}, now


NO_ENGINE_KEYS = EngineKeys()
