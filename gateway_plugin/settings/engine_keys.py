"""Keys that engines want for themselves: the gateway sets them upstream, in place of whatever the client sent.

A file maps models to keys; for all others there is one default. Keys are secrets: no error and no repr tells them.
Keys are renewed while requests run, so the file is looked at once a second: one stat, through symbolic links, which
notices the swap of a mounted Secret.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from gateway_plugin.settings import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What a header may hold.
_KEY = re.compile(r"[!-~]{1,4096}")
_LOOK_SECONDS = 1.0
"""Between two looks at the file's date."""
_NEVER_SEEN = (-1, -1, -1)

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
        self._file = file
        self._version = _NEVER_SEEN

    def __bool__(self) -> bool:
        return bool(self._default or self._by_model or self._file)

    def __repr__(self) -> str:
        return f"EngineKeys({len(self._by_model)} models, {'a' if self._default else 'no'} default)"

    def of(self, model: str) -> str:
        """The key of a model's engines."""
        return self._by_model.get(model, self._default)

    async def run(self) -> None:
        """Follows the file until cancelled; a bad one is logged, and the last good keys stay."""
        while self._file is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            version = _version(self._file)
            if version == self._version:
                continue
            # Noted before reading: a write that happens meanwhile is seen at the next look.
            self._version = version
            try:
                self._by_model = _read(self._file)
            except EngineKeysError as error:
                logger.error("engine keys not reloaded, the last good ones stay: %s", error)
            else:
                logger.info("%s: keys of %d models", self._file, len(self._by_model))


def read_engine_keys(default: str, file: Path | None) -> EngineKeys:
    """Raises EngineKeysError."""
    if default and not _KEY.fullmatch(default):
        raise EngineKeysError("engines.api_key: must be printable ASCII without spaces")
    if file is None:
        return EngineKeys(default)
    return EngineKeys(default, _read(file), file=file)


def _read(file: Path) -> dict[str, str]:
    try:
        content = plain_yaml.load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise EngineKeysError(f"engines.api_keys_file {file}: {error.strerror}") from None
    except ValueError:
        raise EngineKeysError(f"engines.api_keys_file {file}: not YAML") from None
    if not isinstance(content, dict):
        raise EngineKeysError(f"engines.api_keys_file {file}: must map models to keys")
    for model, key in content.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise EngineKeysError(f"engines.api_keys_file {file}: the key of {model} must be text without spaces")
    return {str(model): key for model, key in content.items()}


def _version(file: Path) -> tuple[int, int, int]:
    """Differs when the file was written or replaced."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


NO_ENGINE_KEYS = EngineKeys()
